/**
 * The handles of a box in an orthogonal view, as pure geometry: where they are, which one is under
 * the pointer, and what a drag makes of the box. Nothing here knows of the page.
 */

import { moved, type Shape } from "../core/geometry";
import { wrapAngle } from "../core/pose";
import type { Pixel } from "./view";

/** The flat picture of a box in a view: which of its axes go right and up, and the scale. */
export interface Plane {
  /** Axes of the box (0 length, 1 width, 2 height) that point right and up. */
  axes: readonly [number, number];
  /** CSS pixels a meter. */
  scale: number;
  /** Pixel of the centre of the box. */
  middle: Pixel;
}

export type Handle =
  | { kind: "move" }
  | { kind: "turn" }
  /** Faces that follow the pointer: -1, 0 or 1 along right and up. */
  | { kind: "face"; right: number; up: number };

export interface DragOptions {
  /** Move the opposite face as well. */
  symmetric: boolean;
  /** Turn in whole steps of five degrees. */
  stepped: boolean;
}

export const MIN_SIZE_M = 0.1;
const REACH_PX = 7;
export const KNOB_PX = 26;
const TURN_PER_PIXEL_RAD = 0.008;
const TURN_STEP_RAD = Math.PI / 36;

/** Return half the picture of the box in pixels, right and up. */
export function halfExtent(box: Shape, plane: Plane): [number, number] {
  const half = (axis: number) => (box.size_lwh_m[axis] / 2) * plane.scale;
  return [half(plane.axes[0]), half(plane.axes[1])];
}

/** Return the pixel of the knob that turns the box: ahead of it from above, else over it. */
export function knob(box: Shape, plane: Plane): Pixel {
  const [right, up] = halfExtent(box, plane);
  const { x, y } = plane.middle;
  return plane.axes[1] === 1 ? { x: x + right + KNOB_PX, y } : { x, y: y - up - KNOB_PX };
}

/** Return the handle under a pixel; null if there is none. */
export function handleAt(pixel: Pixel, box: Shape, plane: Plane): Handle | null {
  const grip = knob(box, plane);
  if (Math.hypot(pixel.x - grip.x, pixel.y - grip.y) <= REACH_PX + 3) return { kind: "turn" };
  const [halfRight, halfUp] = halfExtent(box, plane);
  const right = pixel.x - plane.middle.x;
  const up = plane.middle.y - pixel.y;
  if (Math.abs(right) > halfRight + REACH_PX || Math.abs(up) > halfUp + REACH_PX) return null;
  const faceRight = grabbed(right, halfRight);
  const faceUp = grabbed(up, halfUp);
  if (faceRight === 0 && faceUp === 0) return { kind: "move" };
  return { kind: "face", right: faceRight, up: faceUp };
}

/** Which face of a pair is within reach; inside a small box the middle half stays for moving. */
function grabbed(at: number, half: number): number {
  const reach = Math.min(REACH_PX, half / 2);
  return Math.abs(at) >= half - reach ? Math.sign(at) : 0;
}

/**
 * Return the box after a drag.
 *
 * The plane is that of the start: while a drag lasts, the view does not follow.
 */
export function dragged(
  start: Shape,
  handle: Handle,
  plane: Plane,
  from: Pixel,
  to: Pixel,
  options: DragOptions,
): Shape {
  const right = (to.x - from.x) / plane.scale;
  const up = (from.y - to.y) / plane.scale;
  if (handle.kind === "turn") return turned(start, plane, from, to, options.stepped);
  if (handle.kind === "move") {
    return shifted(start, [
      [plane.axes[0], right],
      [plane.axes[1], up],
    ]);
  }
  const grown = resized(start, plane.axes[0], handle.right, right, options.symmetric);
  return resized(grown, plane.axes[1], handle.up, up, options.symmetric);
}

/** Return the box shifted along its own axes. */
export function shifted(box: Shape, shifts: readonly (readonly [number, number])[]): Shape {
  const shift: [number, number, number] = [0, 0, 0];
  for (const [axis, by] of shifts) shift[axis] += by;
  return { ...box, center_xyz_m: moved(box, shift) };
}

/** Return the box with one face (`side` of `axis`) moved outwards; the opposite one stays. */
export function resized(
  box: Shape,
  axis: number,
  side: number,
  by: number,
  symmetric: boolean,
): Shape {
  if (side === 0) return box;
  const growth = side * by * (symmetric ? 2 : 1);
  const size = [...box.size_lwh_m] as [number, number, number];
  size[axis] = Math.max(MIN_SIZE_M, box.size_lwh_m[axis] + growth);
  const change = size[axis] - box.size_lwh_m[axis];
  const shift = symmetric ? 0 : (side * change) / 2;
  return { ...shifted(box, [[axis, shift]]), size_lwh_m: size };
}

function turned(start: Shape, plane: Plane, from: Pixel, to: Pixel, stepped: boolean): Shape {
  const angle = (at: Pixel) => Math.atan2(plane.middle.y - at.y, at.x - plane.middle.x);
  const fromAbove = plane.axes[1] === 1;
  const by = fromAbove ? angle(to) - angle(from) : (to.x - from.x) * TURN_PER_PIXEL_RAD;
  const yaw = start.yaw_rad + by;
  return {
    ...start,
    yaw_rad: wrapAngle(stepped ? Math.round(yaw / TURN_STEP_RAD) * TURN_STEP_RAD : yaw),
  };
}
