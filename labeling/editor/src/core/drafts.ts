/**
 * Keeps unfinished work: every change goes to the browser's own store at once and to the server
 * soon after, until it has it.
 *
 * Saves are numbered. All mounts of the page in one browser share a record and one row of numbers,
 * so the newest save is the one with the largest; work that loses against newer work of another
 * mount or machine is kept as a backup. A page that was open while the task was submitted
 * elsewhere writes nothing over it.
 */
import { ApiError } from "./api";
import { type DraftStore, keyOf, type LocalRecord } from "./draft-store";
import { forgetLastWords, readLastWords, sayLastWords, withLastWords } from "./last-words";
import type { Place } from "./own-work";
import type { Annotation, DraftReply, DraftRequest, SubmitReply, SubmitRequest } from "./protocol";
import { newId, type Recovery, recover } from "./recovery";
import type { OpenTask } from "./wire";

export type { Recovery };

/** What of the server is needed. */
export interface DraftServer {
  saveDraft(taskId: string, draft: DraftRequest): Promise<DraftReply>;
  submit(taskId: string, submission: SubmitRequest): Promise<SubmitReply>;
}

export type SaveState =
  /** The server has everything. */
  | "saved"
  /** Kept here, on its way to the server. */
  | "saving"
  /** Kept here; the server does not answer and is asked again. */
  | "offline"
  /** Another machine saved newer work of this task: `keepMine`, or load the page again. */
  | "conflict"
  /** The task was submitted from another page: load this one again. */
  | "superseded"
  /** The server refuses the work, `problem` says why. */
  | "refused";

export interface SaveStatus {
  readonly state: SaveState;
  readonly problem: string | null;
}

const SYNC_AFTER_MS = 1500;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

export class Drafts {
  private readonly taskId: string;
  private readonly key: string;
  private readonly version: string;
  private readonly mountId = newId();
  private readonly listeners = new Set<(status: SaveStatus) => void>();
  private now: SaveStatus = { state: "saved", problem: null };
  private record!: LocalRecord;
  private writing: Promise<void> = Promise.resolve();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private failures = 0;
  private closed = false;

  private constructor(
    private readonly task: OpenTask,
    private readonly server: DraftServer,
    private readonly store: DraftStore,
    private readonly place: Place,
  ) {
    this.taskId = task.clip.task_id;
    const name = place.kind === "other" ? place.name : "";
    this.key = keyOf(this.taskId, task.labeller, name);
    this.version = task.clip.version;
  }

  /**
   * Return the keeper of an open task and what to go on with.
   *
   * @param place which work on the task; work that is not the person's own has no draft on our
   *   server, which keeps one a person.
   */
  static async open(
    task: OpenTask,
    server: DraftServer,
    store: DraftStore,
    place: Place = { kind: "own", held: null },
  ): Promise<{ drafts: Drafts; recovery: Recovery }> {
    const other = place.kind === "other";
    const opened = other ? { ...task, draft: null, annotation: null } : task;
    const drafts = new Drafts(opened, server, store, place);
    return { drafts, recovery: await drafts.recover() };
  }

  /** Return the id of the work that is kept of a person on a task; null without any. */
  static async ownWork(task: OpenTask, store: DraftStore): Promise<string | null> {
    const kept = await store.read(keyOf(task.clip.task_id, task.labeller)).catch(() => null);
    const { draft } = task;
    const onServer = draft !== null && draft.sequence > (kept?.sequence ?? 0);
    return (onServer ? draft.work_id : kept?.work_id) ?? null;
  }

  get status(): SaveStatus {
    return this.now;
  }

  /** What a request about the work as it is kept now is made of. */
  get position(): Pick<DraftRequest, "client_id" | "sequence" | "version"> {
    const { client_id, sequence, version } = this.record;
    return { client_id, sequence, version };
  }

  /** Id of the piece of work. */
  get workId(): string {
    return this.record.work_id;
  }

  /** Be told of the status whenever it changes; returns the function that ends it. */
  subscribe(listener: (status: SaveStatus) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Keep this work. Returns when the browser has it; the server gets it soon.
   *
   * Saves are written in the order of the calls.
   */
  save(annotation: Annotation): Promise<void> {
    const written = this.writing.then(() => this.write(annotation));
    this.writing = written.catch(() => undefined); // one failure must not stop those after it
    return written;
  }

  /** Keep this work although the page is being left: done when this returns. */
  saveNow(annotation: Annotation): void {
    if (typeof localStorage !== "undefined" && this.now.state !== "superseded")
      sayLastWords(localStorage, this.record, annotation);
    void this.save(annotation);
  }

  /** The person has decided about the other work that was found: it is not offered again. */
  async forgetBackup(): Promise<void> {
    await this.change({ backup: null });
  }

  /** After a conflict: put the work of this browser above that of the other machine. */
  async keepMine(): Promise<void> {
    if (this.now.state !== "conflict" || !this.record.annotation) return;
    this.tell("saving");
    await this.save(this.record.annotation);
  }

  /**
   * Give the answer: it is kept here first, then sent until the server acknowledges it.
   *
   * @throws ApiError if the server refuses it; the work is then a draft as before.
   */
  async submit(annotation: Annotation, leadTimeS: number): Promise<SubmitReply> {
    await this.save(annotation);
    if (this.now.state === "superseded")
      throw new ApiError(409, "this task was submitted from another page: load this one again");
    await this.change({
      pending: {
        submission_id: newId(),
        client_id: this.record.client_id,
        sequence: this.record.sequence,
        version: this.version,
        annotation,
        lead_time_s: leadTimeS,
      },
    });
    return this.resumeSubmit();
  }

  /** Send the answer that is kept until the server acknowledges it. */
  async resumeSubmit(): Promise<SubmitReply> {
    const pending = this.record.pending;
    if (!pending) throw new ApiError(400, "there is no answer to send");
    this.cancelTimer();
    for (let attempt = 0; ; attempt++) {
      try {
        this.tell("saving");
        const reply = await this.server.submit(this.taskId, pending);
        await this.markSubmitted(pending);
        return reply;
      } catch (error) {
        if (!(error instanceof ApiError && error.passing)) {
          await this.change({ pending: null });
          this.tell("refused", error);
          throw error;
        }
        this.tell("offline", error);
        await new Promise((resolve) => setTimeout(resolve, retryMs(attempt)));
        if (this.closed) throw error;
      }
    }
  }

  /** Stop sending; what is kept stays kept. */
  close(): void {
    this.closed = true;
    this.cancelTimer();
  }

  private async recover(): Promise<Recovery> {
    let recovery!: Recovery;
    const last = typeof localStorage === "undefined" ? null : readLastWords(localStorage, this.key);
    this.record = await this.update((old) => {
      const known = old && { ...old, work_id: old.work_id ?? newId() };
      const found = recover(withLastWords(known, last), this.task, this.mountId, this.place);
      recovery = found.recovery;
      return { ...found.record, key: this.key };
    });
    if (last !== null) forgetLastWords(localStorage, this.key, last);
    if (recovery.source === "browser" && this.record.sequence > this.record.synced)
      this.schedule(0);
    return recovery;
  }

  private async write(annotation: Annotation): Promise<void> {
    if (this.now.state === "superseded") return;
    const seen = this.record;
    let superseded = false;
    this.record = await this.update((stored) => {
      const record = stored ?? seen;
      superseded =
        record.submitted > seen.submitted ||
        record.version !== this.version ||
        record.work_id !== seen.work_id;
      return superseded ? record : this.above(record, seen, annotation);
    });
    if (superseded) {
      this.cancelTimer();
      this.tell("superseded");
      return;
    }
    if (this.now.state === "conflict") return;
    if (this.now.state !== "offline") this.tell("saving");
    this.schedule(SYNC_AFTER_MS);
  }

  /** Return the record with this work on top of it; work of another mount becomes the backup. */
  private above(record: LocalRecord, seen: LocalRecord, annotation: Annotation): LocalRecord {
    const overtaken = record.sequence > seen.sequence && record.mount_id !== this.mountId;
    const differs = () =>
      JSON.stringify(record.annotation?.boxes) !== JSON.stringify(annotation.boxes);
    const loser = overtaken && differs() ? record.annotation : null;
    return {
      ...record,
      annotation,
      sequence: Math.max(record.sequence, seen.sequence) + 1,
      saved_at_ms: Date.now(),
      mount_id: this.mountId,
      backup: loser ? { annotation: loser, saved_at_ms: record.saved_at_ms } : record.backup,
    };
  }

  private schedule(afterMs: number): void {
    if (this.place.kind === "other") this.tell("saved"); // Label Studio keeps it
    if (this.timer !== null || this.closed || this.place.kind === "other") return;
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.sync();
    }, afterMs);
  }

  private async sync(): Promise<void> {
    const { client_id, sequence, work_id, annotation } = this.record;
    if (!annotation || this.record.pending || this.closed) return;
    const draft = { client_id, sequence, version: this.version, work_id, annotation };
    let reply: DraftReply;
    try {
      reply = await this.server.saveDraft(this.taskId, draft);
    } catch (error) {
      if (!(error instanceof ApiError && error.passing)) return this.tell("refused", error);
      this.tell("offline", error);
      return this.schedule(retryMs(this.failures++));
    }
    this.failures = 0;
    await this.settle(draft, reply);
  }

  private async settle(draft: DraftRequest, reply: DraftReply): Promise<void> {
    if (!reply.stored && reply.client_id !== draft.client_id) {
      await this.change({ sequence: Math.max(this.record.sequence, reply.sequence) });
      return this.tell("conflict");
    }
    // not stored and ours: another mount of this browser was faster, and its work is newer
    await this.change({ synced: Math.max(reply.sequence, this.record.synced) });
    if (this.record.sequence > this.record.synced) this.schedule(SYNC_AFTER_MS);
    else this.tell("saved");
  }

  private async markSubmitted(pending: SubmitRequest): Promise<void> {
    const { sequence } = pending;
    await this.change({ pending: null, submitted: sequence, synced: sequence });
    if (this.record.sequence > sequence) this.schedule(SYNC_AFTER_MS);
    else this.tell("saved");
  }

  /** Change the record without touching what another mount wrote into it meanwhile. */
  private async change(part: Partial<LocalRecord>): Promise<void> {
    const stored = await this.update((record) => ({ ...(record ?? this.record), ...part }));
    const { synced, submitted, pending } = stored;
    this.record = { ...this.record, synced, submitted, pending, ...part };
  }

  /**
   * Change what is kept. Where the browser's store is full or gone it is kept in memory: the server
   * still gets the work.
   */
  private async update(change: (record: LocalRecord | null) => LocalRecord): Promise<LocalRecord> {
    try {
      return await this.store.update(this.key, change);
    } catch {
      return change(this.record ?? null);
    }
  }

  private cancelTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private tell(state: SaveState, error?: unknown): void {
    const problem =
      error === undefined ? null : error instanceof Error ? error.message : `${error}`;
    this.now = { state, problem };
    for (const listener of this.listeners) listener(this.now);
  }
}

function retryMs(failures: number): number {
  const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
  return longest * (0.5 + Math.random() / 2); // so that many pages do not come back at once
}
