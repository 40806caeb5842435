/** Which end of an object is its front. */
import { type Shape, toBox } from "./geometry";
import { wrapAngle } from "./pose";
import type { SweepIndex } from "./sweep-index";
import type { Box } from "./types";

const LEAST_LENGTH_M = 3; // shorter ones have no bonnet
const LEAST_POINTS = 10;
const END = 0.25; // of the length from the centre on
const HIGH = 0.9; // share of the points that are lower than the height of an end
const WHEELS_M = 0.3;
const SAME_HEIGHT_M = 0.05;

/**
 * Return the shape turned so that its lower end is the front, as it is for cars, vans and lorries.
 *
 * Unchanged where the ends are of one height or not seen. On people's boxes of PandaSet 002 this
 * is right for nine of ten cars both of whose ends are seen.
 */
export function frontByHeight<S extends Shape>(index: SweepIndex, shape: S): S {
  const [length, width, height] = shape.size_lwh_m;
  if (length < LEAST_LENGTH_M) return shape;
  const [x, y] = shape.center_xyz_m;
  const front: number[] = [];
  const rear: number[] = [];
  for (const i of index.near(x, y, Math.hypot(length, width) / 2)) {
    const { xyz_m } = index;
    const point = [xyz_m[3 * i], xyz_m[3 * i + 1], xyz_m[3 * i + 2]] as const;
    const [along, across, up] = toBox(shape, point);
    const above = up + height / 2;
    if (Math.abs(across) > width / 2 || above < WHEELS_M || above > height + 0.5) continue;
    if (along > END * length && along < length * 0.55) front.push(above);
    else if (along < -END * length && along > -length * 0.55) rear.push(above);
  }
  if (front.length < LEAST_POINTS || rear.length < LEAST_POINTS) return shape;
  const lower = top(rear) - top(front);
  return lower < -SAME_HEIGHT_M ? { ...shape, yaw_rad: wrapAngle(shape.yaw_rad + Math.PI) } : shape;
}

function top(heights: number[]): number {
  return heights.sort((a, b) => a - b)[Math.floor(heights.length * HIGH)];
}

const LANE_M = 2.0;

/** Return the heading of the box in whose lane a place is, or 0: forward. */
export function headingHint(boxes: readonly Box[], x: number, y: number): number {
  let nearest = Number.POSITIVE_INFINITY;
  let hint = 0;
  for (const box of boxes) {
    if (box.size_lwh_m[0] < LEAST_LENGTH_M) continue;
    const [along, across] = toBox(box, [x, y, 0]);
    if (Math.abs(across) > LANE_M || Math.abs(along) >= nearest) continue;
    nearest = Math.abs(along);
    hint = box.yaw_rad;
  }
  return hint;
}
