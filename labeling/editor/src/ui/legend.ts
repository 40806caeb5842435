/** What colours mean: the way of colouring, its ramp and where it begins and ends. */

import type { Editor } from "../editor";
import { css, quantityRamp } from "../scene/colors";
import { COLOR_MODES, type ColorMode } from "../scene/points";
import { h, setText } from "./dom";

/** Widest range and unit of each quantity. */
const SCALES: Partial<
  Record<ColorMode, { low: number; high: number; step: number; unit: string }>
> = {
  height: { low: -4, high: 12, step: 0.1, unit: " m" },
  intensity: { low: 0, high: 1, step: 0.01, unit: "" },
  distance: { low: 0, high: 150, step: 1, unit: " m" },
  ring: { low: 0, high: 127, step: 1, unit: "" },
};

export class Legend {
  readonly element: HTMLElement;
  private readonly mode = h("select", { title: "what the colour of points says" });
  private readonly low = slider("where the ramp begins");
  private readonly high = slider("where the ramp ends");
  private readonly ends = [h("span", { className: "number" }), h("span", { className: "number" })];
  private readonly ramp = h("div");
  private readonly chips = h("div", { className: "chips" });

  constructor(private readonly editor: Editor) {
    for (const mode of COLOR_MODES)
      this.mode.append(h("option", { value: mode, textContent: mode }));
    const points = h("input", {
      type: "range",
      min: "0.6",
      max: "6",
      step: "0.1",
      title: "size of points",
    });
    points.value = String(editor.look.pointSize);
    points.style.width = "64px";
    points.addEventListener("input", () => editor.setLook({ pointSize: Number(points.value) }));
    this.ramp.append(
      drawnRamp(),
      h("div", { className: "slider" }, this.low, this.high),
      h("div", { className: "ends" }, ...this.ends),
    );
    this.element = h(
      "div",
      { className: "legend" },
      h("div", { className: "row" }, this.mode, points),
      h("div", { className: "row" }, this.ramp, this.chips),
    );
    this.ramp.style.flex = "1";
    this.mode.addEventListener("change", () => {
      editor.setLook({ mode: this.mode.value as ColorMode });
      this.mode.blur();
    });
    for (const input of [this.low, this.high])
      input.addEventListener("input", () => this.stretch(input));
    for (const { name } of editor.clip.categories) this.chips.append(this.chip(name));
  }

  /** Put the keyboard on the ends of the ramp. */
  focus(): void {
    (this.ramp.hidden ? this.mode : this.low).focus();
  }

  update(): void {
    const { mode, ranges } = this.editor.look;
    this.mode.value = mode;
    const scale = SCALES[mode];
    this.ramp.hidden = scale === undefined;
    this.chips.hidden = mode !== "class";
    if (scale === undefined) return;
    const [low, high] = ranges[mode];
    for (const [input, value] of [
      [this.low, low],
      [this.high, high],
    ] as const) {
      Object.assign(input, {
        min: String(scale.low),
        max: String(scale.high),
        step: String(scale.step),
      });
      input.value = String(value);
    }
    const digits = scale.step < 0.1 ? 2 : scale.step < 1 ? 1 : 0;
    setText(this.ends[0], `${low.toFixed(digits)}${scale.unit}`);
    setText(this.ends[1], `${high.toFixed(digits)}${scale.unit}`);
  }

  private stretch(moved: HTMLInputElement): void {
    const { mode, ranges } = this.editor.look;
    let [low, high] = [Number(this.low.value), Number(this.high.value)];
    if (low > high) [low, high] = moved === this.low ? [high, high] : [low, low];
    this.editor.setLook({ ranges: { ...ranges, [mode]: [low, high] } });
  }

  private chip(name: string): HTMLElement {
    const swatch = h("i");
    swatch.style.background = css(this.editor.colorOf(name));
    return h("span", { className: "chip" }, swatch, name.replaceAll("_", " "));
  }
}

const slider = (title: string) => h("input", { type: "range", title, aria: { label: title } });

function drawnRamp(): HTMLCanvasElement {
  const canvas = h("canvas", { width: 256, height: 1 });
  const pixels = new ImageData(new Uint8ClampedArray(quantityRamp()), 256, 1);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
  return canvas;
}
