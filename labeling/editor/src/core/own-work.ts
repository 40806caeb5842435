/**
 * Which work an annotation of Label Studio goes on with.
 *
 * We keep one unfinished work for each person and task, Label Studio any number of annotations.
 * Each piece of work has an id that travels in the annotation's text, so that work is only ever
 * continued in the annotation that it belongs to.
 */
import type { Annotation } from "./protocol";

/** What an annotation of Label Studio holds. */
export interface HeldWork {
  readonly work_id: string;
  readonly annotation: Annotation;
  readonly sequence: number;
  readonly version: string;
  /** Only the prelabels, copied by Label Studio: nobody began. */
  readonly prelabels: boolean;
  /** The boxes and their save as text, to be compared. */
  readonly words: string;
}

/** An annotation and what stands beside it. */
export interface Surroundings {
  readonly held: HeldWork | null;
  /** Its number, once it was submitted. */
  readonly number: string | null;
  /** Largest sequence of each work that other annotations of the task hold. */
  readonly elsewhere: ReadonlyMap<string, number>;
  /** Whether the person can change it. */
  readonly editable: boolean;
}

export type Place =
  /** Go on with the work that is kept of this person. */
  | { readonly kind: "own"; readonly held: HeldWork | null }
  /** Begin, with what is held or the prelabels: the work that is kept belongs elsewhere. */
  | { readonly kind: "anew"; readonly held: HeldWork | null; readonly keptElsewhere: number }
  /** Go on with what is held, and leave the work that is kept alone; keep this under a name. */
  | { readonly kind: "other"; readonly held: HeldWork | null; readonly name: string };

/**
 * Return what to go on with.
 *
 * @param own id of the work that is kept of this person, null where nothing is.
 * @param version of the task as it is now.
 */
export function placeOf(
  { held, number, elsewhere, editable }: Surroundings,
  own: string | null,
  version: string,
): Place {
  const work = held?.prelabels ? null : held;
  if (!editable) return { kind: "other", held, name: "seen" };
  const copied = work !== null && elsewhere.has(work.work_id);
  if (work !== null && !copied && work.work_id === own && work.version === version)
    return { kind: "own", held: work };
  if (work !== null && !(copied && number === null))
    return { kind: "other", held: work, name: number === null ? work.work_id : `a${number}` };
  const kept = own === null ? undefined : elsewhere.get(own);
  if (work === null && kept === undefined) return { kind: "own", held: null };
  return { kind: "anew", held: work, keptElsewhere: kept ?? 0 };
}
