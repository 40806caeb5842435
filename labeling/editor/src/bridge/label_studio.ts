/**
 * The page around the editor when it runs inside a task of Label Studio.
 *
 * All that the editor knows of Label Studio's internals is in this file, tested with 1.23.2:
 * the iframe in a task's `Markdown` tag has the origin of Label Studio, `parent.Htx` is its store,
 * `annotationStore.selected.names.get("cuboids")` a hidden text area whose text Label Studio's own
 * Submit stores with author and lead time. Where that is not found as expected the work is saved
 * through the HTTP APIs instead, and `status` says so for the labeller to see.
 *
 * Use:
 *
 *   const host = await LabelStudioHost.find(task.task_id);   // null: the editor runs alone
 *   host.read()                                              // work that its annotation holds
 *   host.attach(() => request, false)                        // and `host.flush()` after each edit
 *   host.onStatus((status) => show(status))
 *   host.onSwitch(() => openAgain())
 *   host.submit()                                            // presses its Submit
 *
 * A host belongs to the one annotation that was open when it was found, and writes into no other:
 * what is open around the editor may change while the editor stays.
 */
import { pause } from "../core/api";
import type { HeldWork } from "../core/own-work";
import type { SubmitRequest } from "../core/protocol";

const TAG = "cuboids";
const OBJECT = "clip";
const PRELABELS = "prelabels-";
const WAIT_MS = 10_000;
const LOOK_MS = 250;

/**
 * `ready`: Label Studio's Submit stores the work. `readonly`: what is open there is a prediction or
 * cannot be changed. `fallback`: Label Studio is not as expected; press the editor's own Submit.
 */
export type HostStatus =
  | { readonly kind: "ready" }
  | { readonly kind: "readonly"; readonly why: string }
  | { readonly kind: "fallback"; readonly why: string };

/** The few parts of Label Studio's store that are used. */
interface TextResult {
  /** What is stored; the tag's own values follow it only after the annotation is opened again. */
  readonly mainValue: unknown;
  setValue(value: string[]): void;
}
interface TextTag {
  readonly result?: TextResult;
  selectedValues(): unknown;
  addText(text: string): void;
}
interface OneAnnotation {
  readonly id: string;
  readonly pk: string | null;
  readonly type: string;
  readonly editable: boolean;
  readonly names: { get(name: string): unknown };
}
interface AnnotationStore {
  readonly selected?: OneAnnotation;
  readonly annotations?: readonly OneAnnotation[];
  /** All annotations are shown side by side, each with an editor of its own. */
  readonly viewingAll?: boolean;
}
interface Store {
  submitAnnotation?: () => void;
  updateAnnotation?: () => void;
  readonly annotationStore: AnnotationStore;
  readonly task?: { readonly id?: number | string; readonly data?: unknown };
}

export class LabelStudioHost {
  private current: (() => SubmitRequest) | null = null;
  private written = "";
  private shown: HostStatus = { kind: "ready" };
  private readonly listeners = new Set<(status: HostStatus) => void>();
  private readonly switches = new Set<() => void>();
  /** Id of the annotation that the host belongs to. */
  private bound = "";
  private left = false;
  /** Why the last text was not taken. */
  private refusal = "";

  private constructor(
    private readonly page: Window,
    private readonly taskId: string,
  ) {}

  /** Return the page around, or null where the editor runs alone. Waits until the task is open. */
  static async find(taskId: string, page: Window = window.parent): Promise<LabelStudioHost | null> {
    if (page === window) return null;
    const host = new LabelStudioHost(page, taskId);
    const until = Date.now() + WAIT_MS;
    while (!tagOf(host.selected()) && Date.now() < until) await pause(LOOK_MS);
    host.bound = host.selected()?.id ?? "";
    host.look();
    return host;
  }

  get status(): HostStatus {
    return this.shown;
  }

  /** Be told when the status changes. */
  onStatus(listener: (status: HostStatus) => void): void {
    this.listeners.add(listener);
    listener(this.shown);
  }

  /** Be told, once, when another annotation of the task is opened around the editor. */
  onSwitch(listener: () => void): void {
    this.switches.add(listener);
  }

  /** Return the work that the annotation holds, or null where there is none that can be read. */
  read(): HeldWork | null {
    return heldBy(this.annotation());
  }

  /** Number of the annotation in Label Studio; null before it was submitted. */
  get number(): string | null {
    return this.annotation()?.pk ?? null;
  }

  /** Return the work in the task's other annotations: its id, and its largest sequence. */
  elsewhere(): Map<string, number> {
    const found = new Map<string, number>();
    for (const one of this.annotations()) {
      const held = one.id === this.bound ? null : heldBy(one);
      if (held === null || held.prelabels) continue;
      found.set(held.work_id, Math.max(held.sequence, found.get(held.work_id) ?? 0));
    }
    return found;
  }

  /**
   * Keep Label Studio's text the same as the work: at each flush, and before Label Studio sees any
   * press of a button or key, so that its Submit never misses the last edit, and so that what was
   * done is in the annotation before another one is opened.
   *
   * @param held whether the annotation holds the work as it is: then nothing is written before it
   *   changes.
   */
  attach(current: () => SubmitRequest, held: boolean): void {
    this.current = current;
    if (held) this.written = wordsOf(current());
    window.focus(); // keys are for the editor until somebody clicks elsewhere
    const flush = () => this.flush();
    window.addEventListener("blur", flush);
    window.addEventListener("pagehide", flush);
    try {
      this.page.addEventListener("pointerdown", flush, true);
      this.page.addEventListener("keydown", flush, true);
      window.addEventListener("pagehide", () => {
        this.page.removeEventListener("pointerdown", flush, true);
        this.page.removeEventListener("keydown", flush, true);
      });
    } catch {
      // another origin: then the tag is not reachable either, and `look` says so
    }
    setInterval(() => this.look(), LOOK_MS);
    this.flush();
  }

  /** Write the work into its annotation now; returns whether that holds it. */
  flush(): boolean {
    if (!this.current) return false;
    this.look();
    const tag = tagOf(this.annotation());
    if (!tag || this.shown.kind === "readonly") return false;
    const request = this.current();
    const work = wordsOf(request);
    if (work === this.written) return true;
    const text = JSON.stringify(request);
    try {
      if (tag.result) tag.result.setValue([text]);
      else tag.addText(text);
      if (textOf(tag) !== text) throw new Error("its text area did not take the text");
    } catch (error) {
      this.refusal = `Label Studio did not take the work: ${String(error)}`;
      this.tell({ kind: "fallback", why: this.refusal });
      return false;
    }
    this.refusal = "";
    this.written = work;
    return true;
  }

  /**
   * Press Label Studio's own Submit (or Update, for an annotation that it has already); returns
   * whether that was possible. It then stores the work with author and lead time.
   */
  submit(): boolean {
    if (!this.flush()) return false;
    try {
      const store = this.store();
      const press = this.number ? store?.updateAnnotation : store?.submitAnnotation;
      if (typeof press !== "function") throw new Error("its store has no submit");
      press.call(store);
      return true;
    } catch (error) {
      this.tell({ kind: "fallback", why: `Label Studio's Submit is not known: ${String(error)}` });
      return false;
    }
  }

  /**
   * Make an annotation of the task through Label Studio's own API, unless it is there: for work
   * that was submitted to our own server because `submit` was not possible. Both carry the same
   * submission id, so they are one answer. Returns whether Label Studio has it; our server has it
   * in any case.
   */
  async annotate(request: SubmitRequest): Promise<boolean> {
    const number = this.taskNumber();
    if (number === null) return false;
    const url = `/api/tasks/${number}/annotations/`;
    try {
      const there = await fetch(url);
      if (there.ok && (await there.text()).includes(request.submission_id)) return true;
      const result = {
        id: TAG,
        from_name: TAG,
        to_name: OBJECT,
        type: "textarea",
        value: { text: [JSON.stringify(request)] },
      };
      const made = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ result: [result], lead_time: request.lead_time_s }),
      });
      return made.ok;
    } catch {
      return false; // the next fetch of answers takes the copy on our own server
    }
  }

  /** Our task's number, of the store or, where that is not as expected, of the page's address. */
  private taskNumber(): string | null {
    const store = this.store();
    if (store !== undefined && this.shows(store) === false) return null;
    const number = store?.task?.id;
    if (number !== undefined) return String(number);
    try {
      return new URL(this.page.location.href).searchParams.get("task");
    } catch {
      return null;
    }
  }

  /** Find out what is open around the editor, and tell those who want to know. */
  private look(): void {
    const store = this.store();
    if (store !== undefined && this.shows(store) === false) {
      this.tell({ kind: "readonly", why: "Label Studio has gone on to another task." });
      return;
    }
    const selected = this.selected();
    if (!selected || !tagOf(selected)) {
      const why = "This version of Label Studio is not known to the editor.";
      this.tell({ kind: "fallback", why });
    } else if (selected.id !== this.bound && !this.renamed(selected)) {
      this.tell({ kind: "readonly", why: "Another annotation is open." });
      if (!this.left) for (const listener of this.switches) listener();
      this.left = true;
    } else if (store?.annotationStore.viewingAll) {
      this.tell({ kind: "readonly", why: "Open one of the annotations to change it." });
    } else if (selected.type === "prediction") {
      const why = "These are the prelabels as they came; open your annotation to change them.";
      this.tell({ kind: "readonly", why });
    } else if (!selected.editable) {
      this.tell({ kind: "readonly", why: "This annotation cannot be changed here." });
    } else if (this.refusal !== "") this.tell({ kind: "fallback", why: this.refusal });
    else this.tell({ kind: "ready" });
  }

  /** Whether this is our annotation under the id that Label Studio gave it when it was stored. */
  private renamed(selected: OneAnnotation): boolean {
    const held = heldBy(selected);
    if (held === null || this.written === "" || held.words !== this.written) return false;
    if (this.annotations().some((one) => one.id === this.bound)) return false;
    this.bound = selected.id;
    return true;
  }

  private tell(status: HostStatus): void {
    if (JSON.stringify(status) === JSON.stringify(this.shown)) return;
    this.shown = status;
    for (const listener of this.listeners) listener(status);
  }

  private store(): Store | undefined {
    try {
      return (this.page as Window & { Htx?: Store }).Htx;
    } catch {
      return undefined; // another origin
    }
  }

  /**
   * Whether the page still shows our task: it goes on to the next one before it drops an iframe.
   * Undefined where its store is not as expected.
   */
  private shows(store: Store): boolean | undefined {
    try {
      const data = store.task?.data;
      const fields = (typeof data === "string" ? JSON.parse(data) : data) as { task_id?: unknown };
      return fields.task_id === this.taskId;
    } catch {
      return undefined;
    }
  }

  /** What is open around the editor. */
  private selected(): OneAnnotation | undefined {
    try {
      const store = this.store();
      return store && this.shows(store) ? store.annotationStore.selected : undefined;
    } catch {
      return undefined;
    }
  }

  /** The annotation that we belong to, while it is open. */
  private annotation(): OneAnnotation | undefined {
    const selected = this.selected();
    return selected?.id === this.bound ? selected : undefined;
  }

  private annotations(): readonly OneAnnotation[] {
    try {
      return this.store()?.annotationStore.annotations ?? [];
    } catch {
      return [];
    }
  }
}

function tagOf(annotation: OneAnnotation | undefined): TextTag | undefined {
  try {
    const tag = annotation?.names.get(TAG) as TextTag | undefined;
    return typeof tag?.addText === "function" && typeof tag.selectedValues === "function"
      ? tag
      : undefined;
  } catch {
    return undefined;
  }
}

/** What an annotation that others made may leave out. */
const NOTHING = {
  time_spent_s: 0,
  events: { clicks: 0, keys: 0, drags: 0, actions: {}, seconds_by_track: {} },
};

function textOf(tag: TextTag | undefined): unknown {
  const values: unknown = tag?.result ? tag.result.mainValue : tag?.selectedValues();
  return Array.isArray(values) ? values[values.length - 1] : values;
}

function heldBy(annotation: OneAnnotation | undefined): HeldWork | null {
  try {
    const text = textOf(tagOf(annotation));
    if (typeof text !== "string" || !text) return null;
    const work = JSON.parse(text) as SubmitRequest;
    if (!Array.isArray(work.annotation?.boxes)) return null;
    const work_id = work.submission_id ?? "";
    return {
      work_id,
      annotation: { ...NOTHING, ...work.annotation },
      sequence: work.sequence ?? 0,
      version: work.version ?? "",
      prelabels: work_id.startsWith(PRELABELS),
      words: wordsOf(work),
    };
  } catch {
    return null;
  }
}

/** Return what makes work other work: the clock alone is no change. */
function wordsOf(work: SubmitRequest): string {
  return JSON.stringify([work.submission_id, work.sequence, work.annotation.boxes]);
}
