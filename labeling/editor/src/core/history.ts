/** Undo and redo over immutable states; the changes of one drag are one step. */

interface Step<State> {
  readonly label: string;
  readonly state: State;
}

/** How long after a change the next one with the same key still belongs to it. */
const MERGE_MS = 800;
const MOST_STEPS = 500;

/** The states that were, the one that is, and those that were undone. */
export class History<State> {
  private past: Step<State>[] = [];
  private future: Step<State>[] = [];
  private open: { key: string; at: number; held: boolean } | null = null;

  constructor(
    private now: State,
    private readonly clock: () => number = () => Date.now(),
  ) {}

  get state(): State {
    return this.now;
  }

  /** What `undo` would take back, or null. */
  get undoLabel(): string | null {
    return this.past.at(-1)?.label ?? null;
  }

  get redoLabel(): string | null {
    return this.future.at(-1)?.label ?? null;
  }

  /**
   * Make `state` the present.
   *
   * @param key changes with the same key that follow quickly, or until `endGesture` when `held`,
   *     are one step.
   * @param held the pointer is down: no pause ends the step.
   */
  push(label: string, state: State, key?: string, held = false): void {
    const at = this.clock();
    const open = this.open;
    const merges =
      key !== undefined && open?.key === key && (open.held || at - open.at <= MERGE_MS);
    if (!merges) {
      this.past.push({ label, state: this.now });
      if (this.past.length > MOST_STEPS) this.past.shift();
    }
    this.now = state;
    this.future = [];
    this.open = key === undefined ? null : { key, at, held };
  }

  /** Change the present without a step: for what is no work, such as the frame shown. */
  replace(state: State): void {
    this.now = state;
  }

  /** The pointer was released: what comes next is another step. */
  endGesture(): void {
    this.open = null;
  }

  /** Go one step back; returns false where there is none. */
  undo(): boolean {
    return this.move(this.past, this.future);
  }

  /** Go one undone step forward; returns false where there is none. */
  redo(): boolean {
    return this.move(this.future, this.past);
  }

  private move(from: Step<State>[], to: Step<State>[]): boolean {
    this.open = null;
    const step = from.pop();
    if (!step) return false;
    to.push({ label: step.label, state: this.now });
    this.now = step.state;
    return true;
  }
}
