/** The clip over time: the frame that is shown, and where each track has boxes and key frames. */

import { isProposal } from "../actions/tracks";
import type { Track } from "../core/types";
import type { Editor } from "../editor";
import { css, HIGHLIGHT } from "../scene/colors";
import { h, shortId } from "./dom";

const NAME_PX = 150;
const HEAD_PX = 18;
const ROW_PX = 15;
const MOST_ROWS = 6;
const ROWS_OF_LOW_PAGE = 3;
const LOW_PAGE_PX = 640;
const QUIET = "#8b98aa";

export class Timeline {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { className: "tracks", aria: { label: "timeline" } });
  /** As high as all rows; the canvas stays in place over it and draws the rows in view. */
  private readonly rowsHeight = h("div");
  private readonly scroll: HTMLElement;
  private rows: Track[] = [];
  private width = 0;
  private dragging = false;
  private followed: string | null = null;

  constructor(private readonly editor: Editor) {
    this.scroll = h("div", { className: "scroll" }, this.canvas, this.rowsHeight);
    this.element = h("div", { className: "time" }, this.scroll);
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.dragging) this.editor.model.showFrame(this.frameAt(event.offsetX));
    });
    this.canvas.addEventListener("pointerup", () => {
      this.dragging = false;
    });
    this.scroll.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.update()).observe(this.element);
  }

  update(): void {
    const { model } = this.editor;
    this.rows = [...model.document.tracks.values()]
      .filter((track) => track.boxes[model.frame] !== null || track.track_id === model.selected)
      .sort(inOrder);
    const most = window.innerHeight < LOW_PAGE_PX ? ROWS_OF_LOW_PAGE : MOST_ROWS;
    const shown = Math.min(most, Math.max(1, this.rows.length));
    const height = HEAD_PX + shown * ROW_PX + 3;
    this.width = this.scroll.clientWidth;
    this.scroll.style.height = `${height}px`;
    this.rowsHeight.style.height = `${Math.max(0, this.rows.length - shown) * ROW_PX}px`;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, tall] = [Math.round(this.width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== tall) {
      this.canvas.style.height = `${height}px`;
      Object.assign(this.canvas, { width, height: tall });
    }
    this.follow();
    this.draw();
  }

  private draw(): void {
    const ink = this.canvas.getContext("2d");
    if (ink === null || this.width === 0) return;
    const ratio = this.canvas.width / this.width;
    const height = this.canvas.height / ratio;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.clearRect(0, 0, this.width, height);
    this.drawNow(ink, height);
    const top = this.scroll.scrollTop;
    const first = Math.floor(top / ROW_PX);
    ink.save();
    ink.beginPath();
    ink.rect(0, HEAD_PX, this.width, height);
    ink.clip();
    for (const [i, track] of this.rows.slice(first, first + MOST_ROWS + 2).entries()) {
      this.drawTrack(ink, track, HEAD_PX + (first + i) * ROW_PX - top);
    }
    ink.restore();
    this.drawFrames(ink);
  }

  private get frames(): number {
    return this.editor.clip.frames.length;
  }

  /** Width of a frame. */
  private get step(): number {
    return (this.width - NAME_PX - 8) / this.frames;
  }

  private xOf(frame: number): number {
    return NAME_PX + (frame + 0.5) * this.step;
  }

  private frameAt(x: number): number {
    return Math.max(0, Math.min(this.frames - 1, Math.floor((x - NAME_PX) / this.step)));
  }

  private press(event: PointerEvent): void {
    const row = Math.floor((event.offsetY - HEAD_PX + this.scroll.scrollTop) / ROW_PX);
    const track = event.offsetY < HEAD_PX ? undefined : this.rows[row];
    if (track !== undefined) this.editor.model.select(track.track_id);
    if (event.offsetX < NAME_PX) return;
    this.dragging = true;
    this.canvas.setPointerCapture(event.pointerId);
    this.editor.model.showFrame(this.frameAt(event.offsetX));
  }

  private drawNow(ink: CanvasRenderingContext2D, height: number): void {
    const x = this.xOf(this.editor.model.frame);
    ink.fillStyle = "#1b2330";
    ink.fillRect(x - this.step / 2, 0, this.step, height);
    ink.fillStyle = css(HIGHLIGHT, 0.7);
    ink.fillRect(x - 0.5, HEAD_PX - 4, 1, height);
  }

  private drawFrames(ink: CanvasRenderingContext2D): void {
    const { frame } = this.editor.model;
    ink.font = "10px system-ui, sans-serif";
    ink.textAlign = "center";
    const every = [1, 2, 5, 10, 20, 50].find((n) => n * this.step >= 26) ?? 100;
    for (let f = 0; f < this.frames; f++) {
      ink.fillStyle = f === frame ? css(HIGHLIGHT) : QUIET;
      if (f === frame || f % every === 0) ink.fillText(`${f + 1}`, this.xOf(f), 11);
    }
    ink.textAlign = "left";
    ink.fillStyle = QUIET;
    const time = (f: number) => this.editor.clip.frames[f].timestamp_ns;
    const seconds = (time(frame) - time(0)) / 1e9;
    ink.fillText(`${seconds.toFixed(2)} s · ${this.rows.length} tracks here`, 10, 11);
    if (this.rows.length === 0) ink.fillText("no boxes in this frame", 10, HEAD_PX + 11);
  }

  private drawTrack(ink: CanvasRenderingContext2D, track: Track, top: number): void {
    const selected = track.track_id === this.editor.model.selected;
    const color = this.editor.colorOf(track.category);
    const middle = top + ROW_PX / 2;
    if (selected) {
      ink.fillStyle = "rgb(23 54 74 / 0.8)";
      ink.fillRect(0, top, this.width, ROW_PX);
    }
    ink.fillStyle = selected ? "#cdeeff" : "#b3bdcb";
    ink.font = "11px system-ui, sans-serif";
    ink.textAlign = "left";
    const name = `${track.category.replaceAll("_", " ")} ${shortId(track.track_id)}`;
    ink.fillText(name, 10, middle + 4, NAME_PX - 18);
    const radius = Math.min(4.5, this.step / 2);
    for (const [frame, box] of track.boxes.entries()) {
      if (box === null) continue;
      const x = this.xOf(frame);
      ink.fillStyle = css(color, isProposal(box) ? 0.25 : 0.55);
      ink.fillRect(x - this.step / 2, middle - 2, this.step + 0.5, 4);
      if (box.key_frame) drawDiamond(ink, x, middle, radius, css(color), !isProposal(box));
    }
  }

  /** Bring the row of a new selection into view. */
  private follow(): void {
    const { selected } = this.editor.model;
    if (selected === this.followed) return;
    this.followed = selected;
    const top = this.rows.findIndex((track) => track.track_id === selected) * ROW_PX;
    const { scrollTop } = this.scroll;
    const inView = top >= scrollTop && top + ROW_PX <= scrollTop + MOST_ROWS * ROW_PX;
    if (top >= 0 && !inView) this.scroll.scrollTop = top - (MOST_ROWS * ROW_PX) / 2;
  }
}

const inOrder = (a: Track, b: Track) =>
  compare(a.category, b.category) || compare(a.track_id, b.track_id);

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function drawDiamond(
  ink: CanvasRenderingContext2D,
  x: number,
  y: number,
  radius: number,
  color: string,
  solid: boolean,
): void {
  ink.beginPath();
  ink.moveTo(x - radius, y);
  ink.lineTo(x, y - radius);
  ink.lineTo(x + radius, y);
  ink.lineTo(x, y + radius);
  ink.closePath();
  ink.fillStyle = solid ? color : "#131922";
  ink.fill();
  ink.strokeStyle = color;
  ink.lineWidth = 1;
  ink.stroke();
}
