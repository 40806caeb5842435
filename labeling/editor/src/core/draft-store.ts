/** Where unsaved work is kept in the browser: IndexedDB, or localStorage where that is refused. */
import type { Annotation, SubmitRequest } from "./protocol";

/** What this browser keeps of one person's work on one task; shared by all its mounts of the page. */
export interface LocalRecord {
  /** Of `keyOf`. */
  readonly key: string;
  /** Of this piece of work, in the browser, on the server and in Label Studio. */
  readonly work_id: string;
  readonly version: string;
  readonly client_id: string;
  /** Of the last local save. */
  readonly sequence: number;
  readonly annotation: Annotation | null;
  readonly saved_at_ms: number;
  /** Page load that wrote it. */
  readonly mount_id: string;
  /** Largest sequence of this client that the server is known to have. */
  readonly synced: number;
  /** An answer that was given and not yet acknowledged. */
  readonly pending: SubmitRequest | null;
  /** Sequence of the last acknowledged answer, 0 without. */
  readonly submitted: number;
  /** Work that lost against newer work of another mount or machine; kept until the next loss. */
  readonly backup: { readonly annotation: Annotation; readonly saved_at_ms: number } | null;
}

/**
 * Return under what the work of a person on a task is kept: people may share a browser.
 *
 * @param name of other work than the person's own; see `own-work.ts`.
 */
export function keyOf(taskId: string, labeller: string, name = ""): string {
  return `${taskId}/${labeller}${name && `/${name}`}`;
}

export interface DraftStore {
  read(key: string): Promise<LocalRecord | null>;
  /** Read and write as one step that no other mount comes between; returns what was written. */
  update(key: string, change: (record: LocalRecord | null) => LocalRecord): Promise<LocalRecord>;
}

/** Keeps records as JSON under names, as `localStorage` does. */
export class TextDraftStore implements DraftStore {
  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem">) {}

  async read(key: string): Promise<LocalRecord | null> {
    const text = this.storage.getItem(name(key));
    if (text === null) return null;
    try {
      return JSON.parse(text) as LocalRecord;
    } catch {
      return null; // cut short by a full disk: there is nothing to recover
    }
  }

  async update(
    key: string,
    change: (record: LocalRecord | null) => LocalRecord,
  ): Promise<LocalRecord> {
    const record = change(await this.read(key));
    this.storage.setItem(name(key), JSON.stringify(record));
    return record;
  }
}

/** Keeps records in IndexedDB; a transaction makes each update one step for all mounts. */
export class IndexedDraftStore implements DraftStore {
  private constructor(private readonly database: IDBDatabase) {}

  /** @throws if the browser refuses, as in some private windows. */
  static async open(factory: IDBFactory): Promise<IndexedDraftStore> {
    const request = factory.open("starloop-editor", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("drafts", { keyPath: "key" });
    return new IndexedDraftStore(await finished(request));
  }

  async read(key: string): Promise<LocalRecord | null> {
    const drafts = this.database.transaction("drafts").objectStore("drafts");
    return (await finished<LocalRecord | undefined>(drafts.get(key))) ?? null;
  }

  update(key: string, change: (record: LocalRecord | null) => LocalRecord): Promise<LocalRecord> {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction("drafts", "readwrite");
      const drafts = transaction.objectStore("drafts");
      let record: LocalRecord;
      let problem: unknown = null;
      const request: IDBRequest<LocalRecord | undefined> = drafts.get(key);
      request.onsuccess = () => {
        try {
          record = change(request.result ?? null);
          drafts.put(record);
        } catch (error) {
          problem = error;
          transaction.abort();
        }
      };
      transaction.oncomplete = () => resolve(record);
      transaction.onabort = () => reject(problem ?? transaction.error);
    });
  }
}

/** Return the best store that the browser grants. */
export async function openDraftStore(): Promise<DraftStore> {
  try {
    return await IndexedDraftStore.open(indexedDB);
  } catch {
    return new TextDraftStore(localStorage);
  }
}

function finished<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function name(key: string): string {
  return `starloop-editor/${key}`;
}
