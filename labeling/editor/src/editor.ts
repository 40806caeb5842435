/** What the page is about: the open task with what is on the screen. Panels and views read it. */

import { type Cloud, Clouds } from "./clouds";
import { EditError } from "./core/document";
import type { Command, Model } from "./core/model";
import type { Box, Clip, Document } from "./core/types";
import { type Rgb, spread } from "./scene/colors";
import { countInside } from "./scene/inside";
import { COLOR_MODES, type ColorMode, PointStyle } from "./scene/points";

export type Tool = "select" | "fit" | "draw";
type Range = [number, number];

/** How things are shown; no part of the work. */
export interface Look {
  mode: ColorMode;
  ranges: Record<ColorMode, Range>;
  pointSize: number;
  /** Sweeps before and after that are shown as well. */
  background: number;
  names: boolean;
  cameras: boolean;
  /** Only the selected box is drawn. */
  alone: boolean;
  hidden: Set<string>;
}

export interface Message {
  text: string;
  kind: "info" | "error";
}

const MESSAGE_MS = 4000;

export class Editor {
  readonly style = new PointStyle();
  readonly clouds: Clouds;
  tool: Tool = "select";
  hovered: string | null = null;
  /** Category of the next new box; null lets its size decide. */
  category: string | null = null;
  readonly look: Look = {
    mode: "height",
    ranges: {
      height: [-0.5, 4],
      intensity: [0, 0.6],
      distance: [0, 70],
      ring: [0, 63],
      class: [0, 1],
      plain: [0, 1],
    },
    pointSize: 1.6,
    background: 0,
    names: false,
    cameras: true,
    alone: false,
    hidden: new Set(),
  };
  message: Message | null = null;
  /** How often each kind of action was used, for the record of the work. */
  counted: (action: string) => void = () => {};
  private readonly colors = new Map<string, Rgb>();
  private readonly listeners = new Set<() => void>();
  private readonly counts = new WeakMap<Box, number>();
  private timer = 0;

  constructor(
    readonly clip: Clip,
    readonly model: Model,
  ) {
    this.clouds = new Clouds(clip, this.style, () => this.changed());
    for (const { name, color } of clip.categories) this.colors.set(name, parseColor(color));
    this.style.setKindColors([[92, 101, 115], ...this.colors.values()]);
    this.applyLook();
    model.subscribe((state, before) => {
      if (state.frame !== before.frame) this.needFrames();
      this.changed();
    });
    this.needFrames();
  }

  /** Call back, once in a while of the page, after anything has changed. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  /** Tell everybody that something has changed. */
  changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** The sweep of the screen, if it is here. */
  get cloud(): Cloud | null {
    return this.clouds.get(this.model.frame);
  }

  /** Boxes that are drawn and can be clicked. */
  get shown(): readonly Box[] {
    const { selected } = this.model;
    return this.model.boxes.filter(
      (box) =>
        box.track_id === selected || !(this.look.alone || this.look.hidden.has(box.category)),
    );
  }

  /** Colour of a category. */
  colorOf(category: string): Rgb {
    return this.colors.get(category) ?? spread(category.length);
  }

  /** Number of points in a box of the frame on the screen; null while the points are not here. */
  countIn(box: Box): number | null {
    const known = this.counts.get(box);
    if (known !== undefined) return known;
    const cloud = this.clouds.get(box.frame);
    if (cloud === null) return null;
    const count = countInside(cloud.index, box);
    this.counts.set(box, count);
    return count;
  }

  /** Do something that can be undone; what cannot be done is told to the person. */
  run(command: Command, action?: string): boolean {
    return this.attempt(() => {
      this.model.run(command);
      if (action !== undefined) this.counted(action);
    });
  }

  /** The same for a bare change of the document. */
  edit(label: string, run: (document: Document) => Document, more: Partial<Command> = {}): boolean {
    return this.run({ label, run, ...more }, label);
  }

  /** Run something that may refuse with a reason; show the reason. */
  attempt(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (!(error instanceof EditError)) throw error;
      this.say(error.message, "error");
      return false;
    }
  }

  /** Show a line of text for a few seconds. */
  say(text: string, kind: Message["kind"] = "info"): void {
    this.message = { text, kind };
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.message = null;
      this.changed();
    }, MESSAGE_MS);
    this.changed();
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    this.changed();
  }

  hover(trackId: string | null): void {
    if (trackId === this.hovered) return;
    this.hovered = trackId;
    this.changed();
  }

  /** Change how things are shown. */
  setLook(change: Partial<Look>): void {
    Object.assign(this.look, change);
    this.applyLook();
    if (change.background !== undefined) this.needFrames();
    this.changed();
  }

  /** Take the next way of colouring points. */
  nextColorMode(step: number): void {
    const at = COLOR_MODES.indexOf(this.look.mode);
    const mode = COLOR_MODES[(at + step + COLOR_MODES.length) % COLOR_MODES.length];
    this.setLook({ mode });
    this.say(`colour: ${mode}`);
  }

  private applyLook(): void {
    const { mode, ranges } = this.look;
    this.style.colorBy(mode, ...ranges[mode]);
  }

  private needFrames(): void {
    this.clouds.want(this.model.frame, this.look.background);
  }
}

/** Return `#rrggbb` as three bytes. */
function parseColor(text: string): Rgb {
  const value = Number.parseInt(text.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}
