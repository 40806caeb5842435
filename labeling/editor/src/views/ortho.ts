/** The three orthogonal views: aligned with the selected box and following it. */

import * as THREE from "three";
import type { Shape } from "../core/geometry";
import type { Plane } from "./handles";
import { type Pixel, View, type ViewName } from "./view";

/** Axes of the box that point right and up on the page; the view looks along what is left. */
const AXES: Record<Exclude<ViewName, "perspective">, readonly [number, number]> = {
  top: [0, 1],
  side: [0, 2],
  front: [1, 2],
};
const ROOM = 1.75;
const MIN_SPAN_M = 1.6;
/** How far beyond the box points are still shown, along the line of sight. */
const DEPTH_M = { top: 3, side: 1.2, front: 1.2 };
const ZOOM_PER_NOTCH = 1.12;

export class OrthoView extends View {
  readonly camera = new THREE.OrthographicCamera(-1, 1, 1, -1, 0, 1);
  readonly axes: readonly [number, number];
  private focus: Shape = { center_xyz_m: [12, 0, 0.5], size_lwh_m: [24, 16, 4], yaw_rad: 0 };
  private factor = 1;
  private offset: [number, number] = [0, 0];

  constructor(
    override readonly name: Exclude<ViewName, "perspective">,
    element: HTMLElement,
    private readonly changed: () => void,
  ) {
    super(name, element);
    this.axes = AXES[name];
  }

  /** Look at a box. The caller does not do so while a drag lasts. */
  follow(box: Shape): void {
    this.focus = box;
  }

  /** CSS pixels a meter. */
  get scale(): number {
    const [right, up] = this.axes.map((axis) =>
      Math.max(MIN_SPAN_M, this.focus.size_lwh_m[axis] * ROOM),
    );
    return Math.min(this.width / right, this.height / up) * this.factor;
  }

  /** Return the flat picture of a box that has the heading of the view. */
  plane(box: Shape): Plane {
    const middle = this.project(box.center_xyz_m) as Pixel;
    return { axes: this.axes, scale: this.scale, middle };
  }

  update(): void {
    const { center_xyz_m: center, size_lwh_m: size, yaw_rad: yaw } = this.focus;
    const { camera, width, height, scale } = this;
    const [right, up, ahead] = this.directions(yaw);
    const depth = size[3 - this.axes[0] - this.axes[1]] / 2 + DEPTH_M[this.name];
    camera.left = -width / 2 / scale;
    camera.right = width / 2 / scale;
    camera.top = height / 2 / scale;
    camera.bottom = -height / 2 / scale;
    camera.near = 0;
    camera.far = 2 * depth;
    const eye = new THREE.Vector3(...center)
      .addScaledVector(right, this.offset[0])
      .addScaledVector(up, this.offset[1])
      .addScaledVector(ahead, -depth);
    const world = new THREE.Matrix4().makeBasis(right, up, ahead.clone().negate());
    camera.matrixAutoUpdate = false;
    camera.matrix.copy(world.setPosition(eye));
    camera.updateMatrixWorld(true);
    camera.updateProjectionMatrix();
  }

  /** Come nearer (negative notches) or go away about a pixel. */
  zoom(notches: number, at: Pixel): void {
    const before = this.scale;
    this.factor = Math.min(30, Math.max(0.03, this.factor / ZOOM_PER_NOTCH ** notches));
    const pull = 1 / before - 1 / this.scale;
    this.offset[0] += (at.x - this.width / 2) * pull;
    this.offset[1] += (this.height / 2 - at.y) * pull;
    this.changed();
  }

  /** Shift the picture by a drag. */
  shift(dx: number, dy: number): void {
    this.offset[0] -= dx / this.scale;
    this.offset[1] += dy / this.scale;
    this.changed();
  }

  /** Show the box in the middle again, filling the view. */
  reset(): void {
    this.factor = 1;
    this.recenter();
  }

  /** Show the box in the middle again; the scale stays. */
  recenter(): void {
    this.offset = [0, 0];
    this.changed();
  }

  /** Directions of the page in the ego frame: right, up, away from the eye. */
  private directions(yaw: number): [THREE.Vector3, THREE.Vector3, THREE.Vector3] {
    const box = [
      new THREE.Vector3(Math.cos(yaw), Math.sin(yaw), 0),
      new THREE.Vector3(-Math.sin(yaw), Math.cos(yaw), 0),
      new THREE.Vector3(0, 0, 1),
    ];
    const right = box[this.axes[0]];
    const up = box[this.axes[1]];
    return [right.clone(), up.clone(), new THREE.Vector3().crossVectors(up, right)];
  }
}
