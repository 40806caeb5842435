/**
 * What was done in the last moment before a page went away.
 *
 * A page that is being left cannot wait for IndexedDB; `localStorage` is written before it goes.
 */
import type { LocalRecord } from "./draft-store";
import type { Annotation } from "./protocol";

interface LastWords {
  /** Of the newest save that the store was known to have. */
  readonly sequence: number;
  readonly version: string;
  readonly saved_at_ms: number;
  readonly annotation: Annotation;
}

type Texts = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** Keep an annotation that is newer than a record; false where the browser refuses. */
export function sayLastWords(texts: Texts, record: LocalRecord, annotation: Annotation): boolean {
  const { sequence, version } = record;
  const words: LastWords = { sequence, version, saved_at_ms: Date.now(), annotation };
  try {
    texts.setItem(name(record.key), JSON.stringify(words));
    return true;
  } catch {
    return false; // full, or forbidden: the store may still get it in time
  }
}

/** Return the last words about a record. */
export function readLastWords(texts: Texts, key: string): LastWords | null {
  try {
    const text = texts.getItem(name(key));
    return text === null ? null : (JSON.parse(text) as LastWords);
  } catch {
    return null;
  }
}

/**
 * Forget last words that the store has by now, and no newer ones.
 *
 * Not before: the page that read them may be gone before it has stored them, as Label Studio
 * mounts the editor twice.
 */
export function forgetLastWords(texts: Texts, key: string, stored: LastWords): void {
  const now = readLastWords(texts, key);
  const same = now?.sequence === stored.sequence && now.saved_at_ms === stored.saved_at_ms;
  if (same) texts.removeItem(name(key));
}

/** Return the record with its last words, unless the store got them after all, or newer ones. */
export function withLastWords(
  record: LocalRecord | null,
  last: LastWords | null,
): LocalRecord | null {
  if (record === null || last === null) return record;
  if (record.sequence !== last.sequence || record.version !== last.version) return record;
  return {
    ...record,
    annotation: last.annotation,
    sequence: last.sequence + 1,
    saved_at_ms: last.saved_at_ms,
  };
}

function name(key: string): string {
  return `starloop-editor-last/${key}`;
}
