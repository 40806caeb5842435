/** The work on one task: opened, kept at every change, handed in, alone or inside Label Studio. */

import type { HostStatus, LabelStudioHost } from "./bridge/label_studio";
import { Api } from "./core/api";
import { type DraftStore, openDraftStore, TextDraftStore } from "./core/draft-store";
import { Drafts, type SaveStatus } from "./core/drafts";
import { Model } from "./core/model";
import { type Place, placeOf } from "./core/own-work";
import type { Annotation, SubmitRequest } from "./core/protocol";
import type { Backup } from "./core/recovery";
import { Effort } from "./core/stats";
import type { Document } from "./core/types";
import { annotationOf, type OpenTask } from "./core/wire";

const SAVE_AFTER_MS = 250;

export class Session {
  private timer: number | undefined;
  /** Saves that the browser does not have yet: it may drop them when the page is left. */
  private saving = 0;
  private readonly opened = performance.now();
  /** Of earlier sittings only the active time is known. */
  private readonly spentBeforeS: number;
  private handedIn: Document | null = null;
  /** Other unfinished work on the task, which is older. */
  other: Backup | null = null;
  /** Where the boxes came from, in words for the person. */
  readonly origin: string;

  private constructor(
    readonly task: OpenTask,
    readonly model: Model,
    readonly effort: Effort,
    private readonly drafts: Drafts,
    readonly host: LabelStudioHost | null,
    source: keyof typeof ORIGINS,
  ) {
    this.origin = ORIGINS[source];
    this.spentBeforeS = effort.summary().time_spent_s;
    model.subscribe((state, before) => {
      if (state.document !== before.document) this.keepSoon();
    });
    // A page without unsaved changes writes nothing: it may be older than another one's work.
    window.addEventListener("pagehide", () => {
      if (this.timer === undefined && this.saving === 0) return;
      window.clearTimeout(this.timer);
      this.timer = undefined;
      this.host?.flush();
      this.drafts.saveNow(this.annotation());
    });
    host?.attach(() => this.request(), source === "label studio");
    // What is not in the annotation that was left is kept under its name, see `own-work.ts`.
    const openAgain = () => window.location.reload();
    host?.onSwitch(openAgain);
    if (host?.status.kind === "readonly")
      host.onStatus((status) => void (status.kind === "ready" && openAgain()));
  }

  /** Open a task with the newest work that there is on it. */
  static async open(
    taskId: string,
    findHost: (taskId: string) => Promise<LabelStudioHost | null>,
  ): Promise<Session> {
    const api = new Api();
    const [task, store, host] = await Promise.all([
      api.open(taskId),
      openDraftStore(),
      findHost(taskId),
    ]);
    const place = await placeIn(host, task, store);
    const known = host?.status.kind === "ready"; // then its annotations say what was submitted
    const { drafts, recovery } = await Drafts.open(
      known ? { ...task, annotation: null } : task,
      api,
      host?.status.kind === "readonly" ? new TextDraftStore(FORGETFUL) : store,
      place,
    );
    const { annotation, source } = recovery;
    const model = new Model(task.clip, annotation?.boxes ?? task.prelabels, task.prelabels);
    const session = new Session(task, model, new Effort(annotation), drafts, host, source);
    session.other = recovery.other;
    if (recovery.pending !== null) void drafts.resumeSubmit().catch(() => undefined);
    return session;
  }

  /** Whether everything that was done has been handed in. */
  get submitted(): boolean {
    return this.handedIn === this.model.document;
  }

  onStatus(listener: (status: SaveStatus) => void): void {
    this.drafts.subscribe(listener);
    listener(this.drafts.status);
  }

  onHostStatus(listener: (status: HostStatus) => void): void {
    this.host?.onStatus(listener);
  }

  /** A key was pressed that means something. */
  key(): void {
    this.effort.key();
  }

  /** From now on the time belongs to a track. */
  select(trackId: string | null): void {
    this.effort.select(trackId);
  }

  /** Keep the work now. */
  save(): Promise<void> {
    window.clearTimeout(this.timer);
    this.timer = undefined;
    this.saving++;
    return this.drafts.save(this.annotation()).finally(() => {
      this.saving--;
      this.host?.flush();
    });
  }

  /** The person has decided about the other work. */
  forgetOther(): Promise<void> {
    this.other = null;
    return this.drafts.forgetBackup();
  }

  /** After a conflict: put this work above that of the other machine. */
  keepMine(): Promise<void> {
    return this.drafts.keepMine();
  }

  /** Hand in the work as it is; returns when the server has it. */
  async submit(): Promise<void> {
    const { document } = this.model;
    if (this.host?.status.kind === "readonly") throw new Error(this.host.status.why);
    await this.save();
    if (!this.host?.submit()) {
      const reply = await this.drafts.submit(this.annotation(), this.leadTimeS());
      await this.host?.annotate({ ...this.request(), submission_id: reply.submission_id });
    }
    this.handedIn = document;
  }

  private annotation(): Annotation {
    return annotationOf(this.model.document, this.effort.summary());
  }

  private leadTimeS(): number {
    const hereS = (performance.now() - this.opened) / 1000;
    return Number((this.spentBeforeS + hereS).toFixed(2));
  }

  private request(): SubmitRequest {
    return {
      ...this.drafts.position,
      submission_id: this.drafts.workId,
      annotation: this.annotation(),
      lead_time_s: this.leadTimeS(),
    };
  }

  private keepSoon(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), SAVE_AFTER_MS);
  }
}

/** Return which work the annotation around the editor goes on with. */
async function placeIn(
  host: LabelStudioHost | null,
  task: OpenTask,
  store: DraftStore,
): Promise<Place> {
  if (host === null || host.status.kind === "fallback") return { kind: "own", held: null };
  const around = {
    held: host.read(),
    number: host.number,
    elsewhere: host.elsewhere(),
    editable: host.status.kind === "ready",
  };
  return placeOf(around, await Drafts.ownWork(task, store), task.clip.version);
}

/** Of what only is looked at nothing is kept. */
const FORGETFUL = { getItem: () => null, setItem: () => undefined };

const ORIGINS = {
  browser: "unsaved work of this browser is back",
  server: "going on with the saved draft",
  answer: "the answer that was submitted before",
  "label studio": "going on with the work in Label Studio",
  prelabels: "",
} as const;
