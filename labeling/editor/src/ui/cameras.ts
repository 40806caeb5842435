/** The camera images of the frame with the boxes on them; a click enlarges one. */

import { camerasOf, projectBox } from "../core/camera";
import type { Camera } from "../core/types";
import type { Editor } from "../editor";
import { css, HIGHLIGHT } from "../scene/colors";
import { h, setText } from "./dom";

const STRIP_PX = 240;
const LARGE_PX = 1600;

interface Panel {
  element: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  name: HTMLElement;
  /** What it shows, to draw it again only for a reason. */
  drawn: readonly unknown[];
}

export class Cameras {
  readonly element = h("div", { className: "cameras" });
  private readonly panels: Panel[] = [];
  private readonly images = new Map<string, HTMLImageElement>();
  private large: string | null = null;

  constructor(private readonly editor: Editor) {}

  update(): void {
    const { model, look, clip } = this.editor;
    const cameras = clip.frames[model.frame].images;
    this.element.hidden = !look.cameras || cameras.length === 0;
    if (this.element.hidden) return;
    if (!cameras.some(({ camera }) => camera === this.large)) this.large = null;
    this.element.classList.toggle("large", this.large !== null);
    while (this.panels.length < cameras.length) this.panels.push(this.panel());
    const box = model.selectedBox;
    const best = box === null ? undefined : camerasOf(cameras, box)[0]?.camera;
    this.panels.forEach((panel, i) => {
      panel.element.hidden = i >= cameras.length;
      if (i < cameras.length) this.show(panel, cameras[i], cameras[i].camera === best);
    });
  }

  /** Enlarge the camera that sees the selected box best, then each other, then none. */
  enlargeNext(): void {
    const { model, clip } = this.editor;
    const cameras = clip.frames[model.frame].images;
    const box = model.selectedBox;
    const order = [...new Set([...(box === null ? [] : camerasOf(cameras, box)), ...cameras])];
    const at = order.findIndex(({ camera }) => camera === this.large);
    this.enlarge(order[at + 1]?.camera ?? null);
  }

  /** Make the images small again; returns whether one was large. */
  shrink(): boolean {
    if (this.large === null) return false;
    this.enlarge(null);
    return true;
  }

  private enlarge(camera: string | null): void {
    this.large = camera;
    this.editor.changed();
  }

  private panel(): Panel {
    const canvas = h("canvas");
    const name = h("span", { className: "name" });
    const element = h(
      "button",
      { className: "camera", title: "enlarge (Shift+Space)" },
      canvas,
      name,
    );
    element.addEventListener("click", () => {
      this.enlarge(this.large === null ? (element.dataset.camera ?? null) : null);
      element.blur();
    });
    this.element.append(element);
    return { element, canvas, name, drawn: [] };
  }

  private show(panel: Panel, camera: Camera, best: boolean): void {
    const on = camera.camera === this.large;
    panel.element.dataset.camera = camera.camera;
    panel.element.classList.toggle("on", on);
    panel.element.style.borderColor = best ? css(HIGHLIGHT) : "";
    setText(panel.name, camera.camera.replaceAll("_", " "));
    const image = this.image(camera.url);
    const boxes = this.editor.shown;
    const width = Math.min(camera.width, on ? LARGE_PX : STRIP_PX);
    if (panel.canvas.width !== width) {
      panel.canvas.width = width;
      panel.canvas.height = Math.round((width * camera.height) / camera.width);
    }
    const { selected } = this.editor.model;
    const drawn = [image, image.complete, width, selected, ...boxes];
    if (drawn.length === panel.drawn.length && drawn.every((one, i) => one === panel.drawn[i])) {
      return;
    }
    panel.drawn = drawn;
    const ink = panel.canvas.getContext("2d");
    if (ink === null) return;
    const scale = width / camera.width;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, panel.canvas.width, panel.canvas.height);
    if (image.complete && image.naturalWidth > 0) {
      ink.drawImage(image, 0, 0, panel.canvas.width, panel.canvas.height);
    }
    const behind = boxes.filter((box) => box.track_id !== selected);
    const front = boxes.filter((box) => box.track_id === selected);
    for (const box of [...behind, ...front]) {
      const chosen = box.track_id === selected;
      ink.strokeStyle = chosen ? css(HIGHLIGHT) : css(this.editor.colorOf(box.category), 0.85);
      ink.fillStyle = css(HIGHLIGHT, 0.18);
      ink.lineWidth = chosen ? 2 : 1;
      ink.beginPath();
      for (const { from, to } of projectBox(camera, box)) {
        ink.moveTo(from[0] * scale, from[1] * scale);
        ink.lineTo(to[0] * scale, to[1] * scale);
      }
      ink.stroke();
    }
  }

  private image(url: string): HTMLImageElement {
    let image = this.images.get(url);
    if (image === undefined) {
      image = new Image();
      image.src = url;
      image.addEventListener("load", () => this.editor.changed());
      this.images.set(url, image);
      for (const old of this.images.keys()) {
        if (this.images.size <= 64) break;
        this.images.delete(old);
      }
    }
    return image;
  }
}
