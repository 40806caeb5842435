/**
 * The open task: its document, what is selected, which frame is shown, undo and the clipboard.
 *
 * Views read from it and subscribe; every change goes through `run`. Documents are immutable, so a
 * view compares boxes by identity to find what to draw anew.
 */
import { boxAt, boxesAt, documentOf, newTrackId } from "./document";
import { History } from "./history";
import { fromMap, type Motion, motionOf, toMap } from "./motion";
import { placeBox } from "./tracks";
import type { Box, Category, Clip, Document, Track, Vec3 } from "./types";

/** One thing that a person does. */
export interface Command {
  /** What it is called in the undo menu: "move", "delete track". */
  readonly label: string;
  readonly run: (document: Document) => Document;
  /** Commands with the same key that follow quickly are one step of undo. */
  readonly key?: string;
  /** The pointer is down: all commands of the key until `endGesture` are one step. */
  readonly held?: boolean;
  /** Track to select afterwards. */
  readonly select?: string | null;
}

export interface State {
  readonly document: Document;
  /** Id of the selected track, which may have no box in the frame shown. */
  readonly selected: string | null;
  readonly frame: number;
}

/** Called after every change with the state before it. */
export type Listener = (state: State, before: State) => void;

export class Model {
  readonly motion: Motion;
  private readonly history: History<State>;
  private readonly listeners = new Set<Listener>();
  private copied: Box | null = null;

  /**
   * @param boxes where to start from: the draft, the last answer, or the prelabels.
   * @param prelabels what the model said, also where the work goes on from a draft.
   * @throws EditError if a box is outside the clip or doubled.
   */
  constructor(
    readonly clip: Clip,
    boxes: readonly Box[],
    private readonly prelabels: readonly Box[] = [],
    clock?: () => number,
  ) {
    this.motion = motionOf(clip);
    const document = documentOf(boxes, clip.frames.length);
    this.history = new History<State>({ document, selected: null, frame: 0 }, clock);
  }

  get state(): State {
    return this.history.state;
  }

  get document(): Document {
    return this.state.document;
  }

  get frame(): number {
    return this.state.frame;
  }

  get selected(): string | null {
    return this.state.selected;
  }

  /** The selected track's box in the frame shown, or null. */
  get selectedBox(): Box | null {
    const { document, selected, frame } = this.state;
    return selected === null ? null : boxAt(document, selected, frame);
  }

  /** The boxes of the frame shown. */
  get boxes(): readonly Box[] {
    return boxesAt(this.document, this.frame);
  }

  get undoLabel(): string | null {
    return this.history.undoLabel;
  }

  get redoLabel(): string | null {
    return this.history.redoLabel;
  }

  category(name: string): Category | undefined {
    return this.clip.categories.find((category) => category.name === name);
  }

  /** What the model said of a track in a frame, or null. */
  prelabel(trackId: string, frame: number): Box | null {
    return this.prelabels.find((box) => box.track_id === trackId && box.frame === frame) ?? null;
  }

  /** Return an id for a new object; that of a prelabel means the prelabel, also a deleted one. */
  newTrackId(): string {
    return newTrackId(this.document, new Set(this.prelabels.map((box) => box.track_id)));
  }

  /**
   * Do something that can be undone. A command that changes nothing leaves no step.
   *
   * @throws EditError if it cannot be done; then nothing has changed.
   */
  run(command: Command): void {
    const before = this.state;
    const document = command.run(before.document);
    const wanted = command.select === undefined ? before.selected : command.select;
    const selected = wanted !== null && document.tracks.has(wanted) ? wanted : null;
    if (document === before.document) {
      this.select(selected);
      return;
    }
    const state = { ...before, document, selected };
    this.history.push(command.label, state, command.key, command.held);
    this.tell(before);
  }

  /** The pointer was released: the next command is a step of its own. */
  endGesture(): void {
    this.history.endGesture();
  }

  undo(): void {
    const before = this.state;
    if (this.history.undo()) this.tell(before);
  }

  redo(): void {
    const before = this.state;
    if (this.history.redo()) this.tell(before);
  }

  /** Show a frame; outside the clip, its first or last. */
  showFrame(frame: number): void {
    const last = this.clip.frames.length - 1;
    this.look({ ...this.state, frame: Math.max(0, Math.min(last, frame)) });
  }

  select(trackId: string | null): void {
    this.look({ ...this.state, selected: trackId });
  }

  /** Remember the selected box; returns whether there was one. */
  copy(): boolean {
    this.copied = this.selectedBox ?? this.copied;
    return this.selectedBox !== null;
  }

  /** Return the centre of the copied box where it stands on a place; null if nothing was copied. */
  copiedOn([x, y, ground]: Vec3): Vec3 | null {
    return this.copied && [x, y, ground + this.copied.size_lwh_m[2] / 2];
  }

  /**
   * Place the copied box in the frame shown: as the same track where that has no box here, at the
   * same place in the map; else, or at a given centre, as a new track of the same size.
   */
  paste(center_xyz_m?: Vec3): void {
    if (!this.copied) return;
    const { document, frame } = this.state;
    const track = center_xyz_m ? undefined : document.tracks.get(this.copied.track_id);
    const goesOn = track !== undefined && track.boxes[frame] === null;
    const copied = goesOn ? asInTrack(this.copied, track) : this.copied;
    const box = fromMap(this.motion, toMap(this.motion, copied), frame, copied);
    const track_id = goesOn ? box.track_id : this.newTrackId();
    const { score: _, ...rest } = box;
    const pasted: Box = {
      ...rest,
      track_id,
      origin: "manual",
      center_xyz_m: center_xyz_m ?? box.center_xyz_m,
    };
    this.run({
      label: "paste",
      run: (from) => placeBox(from, this.motion, pasted),
      select: track_id,
    });
  }

  /** Be told of every change; returns the function that ends it. */
  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private look(state: State): void {
    const before = this.state;
    if (state.frame === before.frame && state.selected === before.selected) return;
    this.history.replace(state);
    this.tell(before);
  }

  private tell(before: State): void {
    for (const listener of this.listeners) listener(this.state, before);
  }
}

/** Return a box with the category and size that its track has by now; the bottom stays. */
function asInTrack(box: Box, { category, boxes }: Track): Box {
  const size_lwh_m = boxes.find((one) => one !== null)!.size_lwh_m;
  const [x, y, z] = box.center_xyz_m;
  const center_xyz_m: Vec3 = [x, y, z + (size_lwh_m[2] - box.size_lwh_m[2]) / 2];
  return { ...box, category, size_lwh_m, center_xyz_m };
}
