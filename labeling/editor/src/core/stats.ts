/** What labelling costs: clicks, keys, drags and active seconds, for the task and for each track. */
import type { Annotation, Events } from "./protocol";

/** A longer pause is no work. */
const PAUSE_S = 60;

/** Counts what a person does. The clock is in milliseconds. */
export class Effort {
  private readonly counts = { clicks: 0, keys: 0, drags: 0 };
  private readonly actions = new Map<string, number>();
  private readonly seconds = new Map<string, number>();
  private spentS = 0;
  private lastMs: number | null = null;
  private trackId: string | null = null;

  /** @param before of an earlier sitting, which is continued. */
  constructor(
    before: Pick<Annotation, "time_spent_s" | "events"> | null = null,
    private readonly clock: () => number = () => Date.now(),
  ) {
    if (!before) return;
    this.spentS = before.time_spent_s;
    const { clicks, keys, drags, actions, seconds_by_track } = before.events;
    this.counts = { clicks, keys, drags };
    this.actions = new Map(Object.entries(actions));
    this.seconds = new Map(Object.entries(seconds_by_track));
  }

  click(): void {
    this.counts.clicks++;
    this.active();
  }

  key(): void {
    this.counts.keys++;
    this.active();
  }

  drag(): void {
    this.counts.drags++;
    this.active();
  }

  /** Something that is counted by its name: `fit`, `draw`, `propagate`, `accept`. */
  action(name: string): void {
    this.actions.set(name, (this.actions.get(name) ?? 0) + 1);
    this.active();
  }

  /** From now on time belongs to this track. */
  select(trackId: string | null): void {
    this.active();
    this.trackId = trackId;
  }

  /** The pointer moved or a wheel turned: the person is there. */
  active(): void {
    const now = this.clock();
    if (this.lastMs !== null) {
      const elapsed = (now - this.lastMs) / 1000;
      if (elapsed > 0 && elapsed < PAUSE_S) this.add(elapsed);
    }
    this.lastMs = now;
  }

  private add(elapsedS: number): void {
    this.spentS += elapsedS;
    if (this.trackId === null) return;
    this.seconds.set(this.trackId, (this.seconds.get(this.trackId) ?? 0) + elapsedS);
  }

  /** Return what travels with the annotation. */
  summary(): { time_spent_s: number; events: Events } {
    const seconds = [...this.seconds].map(([id, s]) => [id, Number(s.toFixed(2))] as const);
    return {
      time_spent_s: Number(this.spentS.toFixed(2)),
      events: {
        ...this.counts,
        actions: Object.fromEntries(this.actions),
        seconds_by_track: Object.fromEntries(seconds),
      },
    };
  }
}
