/** What to go on with when a task is opened: the newest work, and nothing else is thrown away. */
import { keyOf, type LocalRecord } from "./draft-store";
import type { HeldWork, Place } from "./own-work";
import type { Annotation, DraftJson, SubmitRequest } from "./protocol";
import type { OpenTask } from "./wire";

/** Work that lost against newer work. */
export interface Backup {
  readonly annotation: Annotation;
  readonly saved_at_ms: number;
}

/** Work to go on with, and work that may be wanted instead. */
export interface Recovery {
  /** Null: begin with the prelabels. */
  readonly annotation: Annotation | null;
  readonly source: "browser" | "server" | "answer" | "prelabels" | "label studio";
  readonly saved_at_ms: number | null;
  /** Other unfinished work of the same task, which lost because it is older. */
  readonly other: Backup | null;
  /** An answer that was given while the server was away; `Drafts.resumeSubmit` sends it. */
  readonly pending: SubmitRequest | null;
}

/**
 * Return what this browser keeps from now on, and what the page shows.
 *
 * The larger sequence wins, whether it is here, on the server or in Label Studio. What was
 * submitted is no draft any more. Work on another version of the task is no start, and is kept as a
 * backup.
 *
 * @param old what the browser kept.
 * @param place which work it is.
 */
export function recover(
  old: LocalRecord | null,
  task: OpenTask,
  mountId: string,
  place: Place,
): { record: LocalRecord; recovery: Recovery } {
  if (place.kind === "anew") return fromHeld(putAway(old, task, mountId, place), place.held);
  const { version } = task.clip;
  const kept = old?.version === version ? old : null;
  const record = kept ?? freshRecord(old, task, mountId);
  const local = record.annotation && record.sequence > record.submitted ? record : null;
  const draft = task.draft?.version === version ? task.draft : null;
  const { held } = place;
  const newest = Math.max(local?.sequence ?? 0, draft?.sequence ?? 0);
  if (held !== null && held.sequence >= newest) return fromHeld(record, held);
  if (draft && draft.sequence > record.submitted) {
    if (draft.sequence > (local?.sequence ?? 0)) return fromServer(record, local, draft);
    return fromBrowser({ ...record, synced: syncedBy(draft, record) }, draft);
  }
  if (local) return fromBrowser(record, null);
  const recovery: Recovery = {
    annotation: task.annotation,
    source: task.annotation ? "answer" : "prelabels",
    saved_at_ms: null,
    other: record.backup,
    pending: record.pending,
  };
  return { record, recovery };
}

/** Return a record for new work; the old one is a backup unless all of it is in another place. */
function putAway(
  old: LocalRecord | null,
  task: OpenTask,
  mountId: string,
  { keptElsewhere }: Extract<Place, { kind: "anew" }>,
): LocalRecord {
  const record = freshRecord(old, task, mountId);
  const safe = old === null || old.sequence <= Math.max(keptElsewhere, old.submitted);
  const sequence = Math.max(record.sequence, keptElsewhere);
  const backup = safe ? (old?.backup ?? null) : record.backup;
  return { ...record, sequence, backup, pending: old?.pending ?? null };
}

function fromHeld(record: LocalRecord, held: HeldWork | null) {
  const begun = held !== null && !held.prelabels;
  const recovery: Recovery = {
    annotation: held?.annotation ?? null,
    source: begun ? "label studio" : "prelabels",
    saved_at_ms: null,
    other: record.backup,
    pending: record.pending,
  };
  if (!begun) return { record, recovery };
  const sequence = Math.max(record.sequence, held.sequence);
  const changed = { ...record, sequence, annotation: held.annotation, synced: sequence };
  return { record: changed, recovery };
}

function syncedBy(draft: DraftJson, record: LocalRecord): number {
  return draft.client_id === record.client_id ? draft.sequence : record.synced;
}

function fromBrowser(record: LocalRecord, draft: DraftJson | null) {
  const foreign = draft !== null && draft.client_id !== record.client_id;
  const recovery: Recovery = {
    annotation: record.annotation,
    source: "browser",
    saved_at_ms: record.saved_at_ms,
    other: foreign ? backupOf(draft) : record.backup,
    pending: record.pending,
  };
  return { record, recovery };
}

function fromServer(record: LocalRecord, local: LocalRecord | null, draft: DraftJson) {
  const unsent = local?.annotation && local.sequence > local.synced;
  const other: Backup | null = unsent
    ? { annotation: local.annotation, saved_at_ms: local.saved_at_ms }
    : record.backup;
  const saved_at_ms = Date.parse(draft.saved_at);
  const { sequence, annotation } = draft;
  const work_id = draft.work_id ?? record.work_id;
  const changed = {
    ...record,
    work_id,
    sequence,
    annotation,
    saved_at_ms,
    synced: sequence,
    backup: other,
  };
  const recovery: Recovery = {
    annotation,
    source: "server",
    saved_at_ms,
    other,
    pending: record.pending,
  };
  return { record: changed, recovery };
}

function backupOf(draft: DraftJson): Backup {
  return { annotation: draft.annotation, saved_at_ms: Date.parse(draft.saved_at) };
}

/** Return an empty record that goes on with the numbers of what was there. */
function freshRecord(old: LocalRecord | null, task: OpenTask, mountId: string): LocalRecord {
  return {
    key: keyOf(task.clip.task_id, task.labeller),
    work_id: newId(),
    version: task.clip.version,
    client_id: old?.client_id ?? newId(),
    sequence: Math.max(old?.sequence ?? 0, task.draft?.sequence ?? 0),
    annotation: null,
    saved_at_ms: 0,
    mount_id: mountId,
    synced: 0,
    pending: null,
    submitted: 0,
    backup: unfinished(old, task) ?? old?.backup ?? null,
  };
}

/** Return what was begun before, here or on the server, that is no start any more. */
function unfinished(old: LocalRecord | null, { clip, draft }: OpenTask): Backup | null {
  const stale = draft !== null && draft.version !== clip.version;
  if (stale && draft.sequence > (old?.sequence ?? 0)) return backupOf(draft);
  return old?.annotation ? { annotation: old.annotation, saved_at_ms: old.saved_at_ms } : null;
}

/** Return 32 random hex digits. Unlike `randomUUID`, also on pages without https. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
