/** The clip over time: the frame that is shown, and where each track has boxes and key frames. */

import { isProposal } from "../actions/tracks";
import type { Track } from "../core/types";
import type { Editor } from "../editor";
import { css, HIGHLIGHT } from "../scene/colors";
import { h } from "./dom";

const NAME_PX = 150;
const HEAD_PX = 18;
const ROW_PX = 15;
const MOST_HEIGHT_PX = 108;

export class Timeline {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { tabIndex: 0, aria: { label: "timeline" } });
  private readonly scroll: HTMLElement;
  private rows: Track[] = [];
  private dragging = false;
  private followed: string | null = null;

  constructor(private readonly editor: Editor) {
    this.canvas.style.display = "block";
    this.scroll = h("div", {}, this.canvas);
    this.scroll.style.cssText = `max-height:${MOST_HEIGHT_PX}px;overflow:hidden auto`;
    this.element = h("div", { className: "time" }, this.scroll);
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.dragging) this.editor.model.showFrame(this.frameAt(event.offsetX));
    });
    this.canvas.addEventListener("pointerup", () => {
      this.dragging = false;
    });
    new ResizeObserver(() => this.update()).observe(this.element);
  }

  update(): void {
    const { model } = this.editor;
    const seen = [...model.document.tracks.values()].filter(
      (track) => track.boxes[model.frame] !== null || track.track_id === model.selected,
    );
    this.rows = seen.sort(
      (a, b) => a.category.localeCompare(b.category) || (a.track_id < b.track_id ? -1 : 1),
    );
    const width = this.scroll.clientWidth;
    const height = HEAD_PX + Math.max(1, this.rows.length) * ROW_PX + 3;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.style.height = `${height}px`;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const ink = this.canvas.getContext("2d");
    if (ink === null || width === 0) return;
    ink.scale(ratio, ratio);
    this.drawFrames(ink, width, height);
    for (const [row, track] of this.rows.entries()) {
      this.drawTrack(ink, width, track, HEAD_PX + row * ROW_PX);
    }
    this.follow();
  }

  private get frames(): number {
    return this.editor.clip.frames.length;
  }

  private xOf(frame: number): number {
    return NAME_PX + ((frame + 0.5) * (this.scroll.clientWidth - NAME_PX - 8)) / this.frames;
  }

  private frameAt(x: number): number {
    const share = (x - NAME_PX) / (this.scroll.clientWidth - NAME_PX - 8);
    return Math.max(0, Math.min(this.frames - 1, Math.floor(share * this.frames)));
  }

  private press(event: PointerEvent): void {
    const row = Math.floor((event.offsetY - HEAD_PX) / ROW_PX);
    const track = event.offsetY < HEAD_PX ? undefined : this.rows[row];
    if (track !== undefined) this.editor.model.select(track.track_id);
    if (event.offsetX < NAME_PX) return;
    this.dragging = true;
    this.canvas.setPointerCapture(event.pointerId);
    this.editor.model.showFrame(this.frameAt(event.offsetX));
  }

  private drawFrames(ink: CanvasRenderingContext2D, width: number, height: number): void {
    const { frame } = this.editor.model;
    const step = this.xOf(1) - this.xOf(0);
    ink.fillStyle = "#1b2330";
    ink.fillRect(this.xOf(frame) - step / 2, 0, step, height);
    ink.fillStyle = css(HIGHLIGHT);
    ink.fillRect(this.xOf(frame) - 0.75, HEAD_PX - 4, 1.5, height);
    ink.font = "10px system-ui, sans-serif";
    ink.textAlign = "center";
    const every = [1, 2, 5, 10, 20, 50].find((n) => n * step >= 26) ?? 100;
    for (let f = 0; f < this.frames; f++) {
      const now = f === frame;
      ink.fillStyle = now ? css(HIGHLIGHT) : "#8b98aa";
      if (now || f % every === 0) ink.fillText(`${f + 1}`, this.xOf(f), 11);
    }
    ink.textAlign = "left";
    ink.fillStyle = "#8b98aa";
    const seconds =
      (this.editor.clip.frames[frame].timestamp_ns - this.editor.clip.frames[0].timestamp_ns) / 1e9;
    ink.fillText(`${seconds.toFixed(2)} s · ${this.rows.length} tracks here`, 10, 11);
    if (width > 0 && this.rows.length === 0)
      ink.fillText("no boxes in this frame", 10, HEAD_PX + 11);
  }

  private drawTrack(ink: CanvasRenderingContext2D, width: number, track: Track, top: number): void {
    const { model, colorOf } = {
      model: this.editor.model,
      colorOf: (c: string) => this.editor.colorOf(c),
    };
    const selected = track.track_id === model.selected;
    const color = colorOf(track.category);
    const middle = top + ROW_PX / 2;
    if (selected) {
      ink.fillStyle = "rgb(23 54 74 / 0.8)";
      ink.fillRect(0, top, width, ROW_PX);
    }
    ink.fillStyle = selected ? "#cdeeff" : "#b3bdcb";
    ink.font = "11px system-ui, sans-serif";
    ink.textAlign = "left";
    const name = `${track.category.replaceAll("_", " ")} ${track.track_id.slice(0, 10)}`;
    ink.fillText(name, 10, middle + 4, NAME_PX - 18);
    const step = this.xOf(1) - this.xOf(0) || 20;
    track.boxes.forEach((box, frame) => {
      if (box === null) return;
      const x = this.xOf(frame);
      ink.fillStyle = css(color, isProposal(box) ? 0.25 : 0.5);
      ink.fillRect(x - step / 2, middle - 2, step + 0.5, 4);
      if (!box.key_frame) return;
      ink.beginPath();
      const r = Math.min(4.5, step / 2);
      ink.moveTo(x - r, middle);
      ink.lineTo(x, middle - r);
      ink.lineTo(x + r, middle);
      ink.lineTo(x, middle + r);
      ink.closePath();
      ink.fillStyle = isProposal(box) ? "#131922" : css(color);
      ink.fill();
      ink.strokeStyle = css(color);
      ink.lineWidth = 1;
      ink.stroke();
    });
  }

  private follow(): void {
    const { selected } = this.editor.model;
    if (selected === this.followed) return;
    this.followed = selected;
    const row = this.rows.findIndex((track) => track.track_id === selected);
    const top = HEAD_PX + row * ROW_PX;
    if (
      row < 0 ||
      (top > this.scroll.scrollTop && top + ROW_PX < this.scroll.scrollTop + MOST_HEIGHT_PX)
    )
      return;
    this.scroll.scrollTop = top - MOST_HEIGHT_PX / 2;
  }
}
