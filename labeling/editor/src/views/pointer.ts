/** What the mouse does in the views. */

import { addBox, reshape } from "../actions/boxes";
import { addDrawn, fitAt, groundHeight } from "../actions/fitting";
import type { Shape } from "../core/geometry";
import type { Box } from "../core/types";
import type { Editor } from "../editor";
import { boxAt, pointAt } from "../scene/pick";
import { dragged, type Handle, handleAt, type Plane } from "./handles";
import { OrthoView } from "./ortho";
import type { PerspectiveView } from "./perspective";
import type { Pixel, Point3, View } from "./view";

const CLICK_PX = 4;

type Gesture =
  | { kind: "look"; pan: boolean }
  | { kind: "handle"; handle: Handle; plane: Plane; box: Box }
  | { kind: "draw" };

/** A rectangle on the ground that is being drawn. */
export interface Sketch {
  corners: readonly [Point3, Point3, Point3, Point3];
  shape: Shape;
}

export class Pointer {
  /** The handle under the pointer or in hand, and in which view. */
  active: { view: View; handle: Handle } | null = null;
  sketch: Sketch | null = null;
  private gesture: Gesture | null = null;
  private from: Pixel = { x: 0, y: 0 };
  private last: Pixel = { x: 0, y: 0 };
  private moved = false;
  /** Where the pointer is in the large view. */
  private over: Pixel | null = null;
  private lastClick: { at: Pixel; time: number } | null = null;

  constructor(
    private readonly editor: Editor,
    views: readonly View[],
    private readonly perspective: PerspectiveView,
    private readonly redraw: () => void,
  ) {
    for (const view of views) this.listen(view);
  }

  /** While a box is in hand, the views must not follow it. */
  get holding(): boolean {
    return this.gesture?.kind === "handle";
  }

  /** Give up what is being dragged. */
  cancel(): boolean {
    if (this.gesture === null || this.gesture.kind === "look") return false;
    if (this.gesture.kind === "handle" && this.moved) {
      this.editor.model.endGesture();
      this.editor.model.undo();
    }
    this.gesture = null;
    this.sketch = null;
    this.redraw();
    return true;
  }

  /** Return where a copied box stands under the pointer in the large view; null elsewhere. */
  placeUnder(): Point3 | null {
    const { model } = this.editor;
    if (this.over === null || model.selectedBox === null) return null;
    const ground = this.onGround(this.perspective, this.over);
    return ground && model.copiedOn(ground);
  }

  private listen(view: View): void {
    const { element } = view;
    element.addEventListener("pointerdown", (event) => this.down(view, event));
    element.addEventListener("pointermove", (event) => this.move(view, event));
    element.addEventListener("pointerup", (event) => this.up(view, event));
    element.addEventListener("pointercancel", () => this.cancel());
    element.addEventListener("pointerleave", () => {
      this.over = null;
      this.hoverHandle(view, null);
      this.editor.hover(null);
    });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const notches = Math.max(-3, Math.min(3, event.deltaY / (event.deltaMode === 0 ? 100 : 3)));
        if (view instanceof OrthoView) view.zoom(notches, this.pixel(view, event));
        else this.perspective.zoom(notches, this.pixel(view, event));
      },
      { passive: false },
    );
  }

  private pixel(view: View, event: MouseEvent): Pixel {
    const rect = view.element.getBoundingClientRect();
    return { x: event.clientX - rect.left, y: event.clientY - rect.top };
  }

  private down(view: View, event: PointerEvent): void {
    if ((event.target as HTMLElement).closest("button, .legend, .cameras") || this.gesture) return;
    (document.activeElement as HTMLElement | null)?.blur();
    view.element.setPointerCapture(event.pointerId);
    this.from = this.last = this.pixel(view, event);
    this.moved = false;
    const looks = event.button !== 0;
    const box = this.editor.model.selectedBox;
    const handle = looks ? null : this.handleUnder(view, this.from);
    if (handle !== null && box !== null && view instanceof OrthoView) {
      this.gesture = { kind: "handle", handle, plane: view.plane(box), box };
      this.active = { view, handle };
    } else if (!looks && this.editor.tool === "draw") this.gesture = { kind: "draw" };
    else this.gesture = { kind: "look", pan: looks || event.shiftKey || view !== this.perspective };
  }

  private move(view: View, event: PointerEvent): void {
    const at = this.pixel(view, event);
    this.over = view === this.perspective ? at : null;
    if (this.gesture === null) {
      this.hover(view, at);
      return;
    }
    if (Math.hypot(at.x - this.from.x, at.y - this.from.y) >= CLICK_PX) this.moved = true;
    if (!this.moved) return;
    const { gesture } = this;
    if (gesture.kind === "look") this.look(view, gesture.pan, at);
    else if (gesture.kind === "draw") this.drawTo(view, at);
    else {
      const options = { symmetric: event.shiftKey, stepped: event.ctrlKey || event.metaKey };
      const shape = dragged(gesture.box, gesture.handle, gesture.plane, this.from, at, options);
      const { center_xyz_m, size_lwh_m, yaw_rad } = shape;
      const label = gesture.handle.kind === "face" ? "resize" : gesture.handle.kind;
      const more = { key: `drag ${gesture.box.track_id}`, held: true };
      reshape(this.editor, label, gesture.box, { center_xyz_m, size_lwh_m, yaw_rad }, more);
    }
    this.last = at;
  }

  private up(view: View, event: PointerEvent): void {
    const { gesture, moved } = this;
    this.gesture = null;
    if (gesture === null) return;
    if (!moved) this.click(view, this.from, event);
    else if (gesture.kind === "handle") this.editor.model.endGesture();
    else if (gesture.kind === "draw") this.finishDrawing(event.altKey);
    this.hover(view, this.pixel(view, event));
    this.editor.changed(); // the views follow the box again
  }

  private look(view: View, pan: boolean, at: Pixel): void {
    if (view instanceof OrthoView) view.shift(at.x - this.last.x, at.y - this.last.y);
    else if (pan) this.perspective.shift(this.last, at);
    else this.perspective.turn(at.x - this.last.x, at.y - this.last.y);
  }

  private click(view: View, at: Pixel, event: PointerEvent): void {
    if (event.button !== 0) return;
    const now = performance.now();
    const last = this.lastClick;
    const twice =
      last !== null && now - last.time < 350 && Math.hypot(at.x - last.at.x, at.y - last.at.y) < 6;
    this.lastClick = twice ? null : { at, time: now };
    const wantsFit = this.editor.tool === "fit" || event.ctrlKey || event.metaKey;
    if (wantsFit) {
      this.fitUnder(view, at);
      return;
    }
    if (this.editor.tool === "draw") {
      this.place(view, at);
      return;
    }
    const boxes = this.editor.shown;
    const found = boxAt(view, at, boxes);
    if (found < 0) {
      if (view === this.perspective) this.editor.model.select(null);
      return;
    }
    const box = boxes[found];
    this.editor.model.select(box.track_id);
    if (twice) this.perspective.flyTo(box.center_xyz_m, Math.max(...box.size_lwh_m));
  }

  private fitUnder(view: View, at: Pixel): void {
    const cloud = this.editor.cloud;
    if (cloud === null) return;
    const index = pointAt(view, at, cloud.xyz_m);
    if (index < 0) this.editor.say("no point is near the click");
    else fitAt(this.editor, cloud.xyz_m.subarray(3 * index, 3 * index + 3) as unknown as Point3);
  }

  private place(view: View, at: Pixel): void {
    const ground = this.onGround(view, at);
    const name = this.editor.category ?? this.editor.clip.categories[0].name;
    const size = this.editor.model.category(name)?.default_size_lwh_m;
    if (ground === null || size === undefined) return;
    const center: Point3 = [ground[0], ground[1], ground[2] + size[2] / 2];
    const yaw_rad = view === this.perspective ? this.perspective.azimuth : 0;
    addBox(this.editor, "draw", { center_xyz_m: center, size_lwh_m: size, yaw_rad }, name);
    this.editor.setTool("select");
  }

  private onGround(view: View, at: Pixel): Point3 | null {
    const level = view.onLevel(at, 0);
    if (level === null) return null;
    return view.onLevel(at, groundHeight(this.editor, level[0], level[1]) ?? 0);
  }

  private drawTo(view: View, at: Pixel): void {
    if (view instanceof OrthoView && view.name !== "top") {
      this.editor.say("draw in the top view or in the large one");
      this.gesture = null;
      return;
    }
    const a = this.onGround(view, this.from);
    const c = a && view.onLevel(at, a[2]);
    const aside = a && view.onLevel({ x: this.from.x + 30, y: this.from.y }, a[2]);
    this.sketch = a && c && aside ? sketchOf(a, c, aside) : null;
    this.redraw();
  }

  private finishDrawing(exactly: boolean): void {
    const { sketch } = this;
    this.sketch = null;
    if (sketch !== null) addDrawn(this.editor, sketch.shape, exactly);
    this.editor.setTool("select");
  }

  private handleUnder(view: View, at: Pixel): Handle | null {
    const box = this.editor.model.selectedBox;
    if (box === null || !(view instanceof OrthoView) || this.editor.tool !== "select") return null;
    return handleAt(at, box, view.plane(box));
  }

  private hover(view: View, at: Pixel): void {
    const handle = this.handleUnder(view, at);
    this.hoverHandle(view, handle);
    if (view !== this.perspective || this.editor.tool !== "select") return;
    const found = boxAt(view, at, this.editor.shown);
    this.editor.hover(found < 0 ? null : this.editor.shown[found].track_id);
  }

  private hoverHandle(view: View, handle: Handle | null): void {
    const changed = JSON.stringify(this.active?.handle) !== JSON.stringify(handle ?? undefined);
    if (this.gesture !== null || !changed) return;
    this.active = handle === null ? null : { view, handle };
    view.element.style.cursor = cursorOf(handle);
    this.redraw();
  }
}

function cursorOf(handle: Handle | null): string {
  if (handle === null) return "";
  if (handle.kind === "turn") return "grab";
  if (handle.kind === "move") return "move";
  if (handle.right === 0) return "ns-resize";
  if (handle.up === 0) return "ew-resize";
  return handle.right === handle.up ? "nesw-resize" : "nwse-resize";
}

/** The rectangle with corners a and c whose sides run with the page; it heads where it was drawn. */
function sketchOf(a: Point3, c: Point3, aside: Point3): Sketch {
  const length = Math.hypot(aside[0] - a[0], aside[1] - a[1]);
  const u = [(aside[0] - a[0]) / length, (aside[1] - a[1]) / length];
  const v = [-u[1], u[0]];
  const along = (c[0] - a[0]) * u[0] + (c[1] - a[1]) * u[1];
  const across = (c[0] - a[0]) * v[0] + (c[1] - a[1]) * v[1];
  const corner = (s: number, t: number): Point3 => [
    a[0] + s * along * u[0] + t * across * v[0],
    a[1] + s * along * u[1] + t * across * v[1],
    a[2],
  ];
  const lengthwise = Math.abs(along) >= Math.abs(across);
  const [way, sign] = lengthwise ? [u, Math.sign(along)] : [v, Math.sign(across)];
  const sides = [Math.abs(along), Math.abs(across)].sort((p, q) => q - p);
  return {
    corners: [corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)],
    shape: {
      center_xyz_m: corner(0.5, 0.5),
      size_lwh_m: [Math.max(0.1, sides[0]), Math.max(0.1, sides[1]), 0],
      yaw_rad: Math.atan2(way[1] * sign, way[0] * sign),
    },
  };
}
