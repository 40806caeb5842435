/** Moves a box of known size onto the points near it: for the next frame of a track. */
import { type Shape, toBox } from "./geometry";
import { findGround, groundAt } from "./ground";
import { wrapAngle } from "./pose";
import { indexOf } from "./sweep-index";
import type { Points } from "./types";

export interface Refit {
  readonly shape: Shape;
  /** Points that the box was moved onto; with few it stays where it was. */
  readonly num_points: number;
  /** How well the points lie on the faces: at most 2, negative where the box is beside them. */
  readonly score: number;
}

const MARGIN_M = 0.8; // how far the guess may be off
const LEAST_POINTS = 5;
const MOST_POINTS = 250;
const CLEARANCE_M = 0.25;
/** Distance from a face at which a point hardly tells anything. */
const NEAR_M = 0.12;
/** Points outside cost more than points deep inside gain. */
const OUTSIDE = 1.5;
/** Cost of moving away from the guess, per meter or per radian times half the length. */
const STIFF = 0.12;
const ROUNDS: readonly { step_m: number; step_rad: number }[] = [
  { step_m: 0.3, step_rad: 0.06 },
  { step_m: 0.12, step_rad: 0.025 },
  { step_m: 0.05, step_rad: 0.01 },
  { step_m: 0.02, step_rad: 0.004 },
];

/**
 * Return the shape moved and turned so that its faces lie on the points, standing on the ground.
 *
 * @param sensor_xy_m where the points are seen from, ego frame.
 */
export function refit(
  points: Pick<Points, "xyz_m">,
  guess: Shape,
  sensor_xy_m: readonly [number, number] = [0, 0],
): Refit {
  const index = indexOf(points);
  const [x, y, z] = guess.center_xyz_m;
  const [l, w, h] = guess.size_lwh_m;
  const ground = findGround(index, x, y);
  const bottom = ground ? groundAt(ground, x, y) : z - h / 2;
  const near: number[] = [];
  const margin = Math.min(MARGIN_M, Math.max(0.3, w / 2));
  for (const i of index.near(x, y, Math.hypot(l, w) / 2 + margin)) {
    const up = points.xyz_m[3 * i + 2];
    const point = [points.xyz_m[3 * i], points.xyz_m[3 * i + 1], up] as const;
    const floor = ground ? groundAt(ground, point[0], point[1]) : bottom;
    if (up < floor + Math.min(CLEARANCE_M, h / 4) || up > bottom + h + 0.3) continue;
    const [along, across] = toBox(guess, point);
    if (Math.abs(along) > l / 2 + margin || Math.abs(across) > w / 2 + margin) continue;
    near.push(point[0], point[1]);
  }
  const standing: Shape = { ...guess, center_xyz_m: [x, y, bottom + h / 2] };
  if (near.length < 2 * LEAST_POINTS)
    return { shape: standing, num_points: near.length / 2, score: Number.NEGATIVE_INFINITY };
  return { ...climb(thinned(near), standing, sensor_xy_m), num_points: near.length / 2 };
}

function thinned(xy: readonly number[]): Float64Array {
  const count = xy.length / 2;
  const step = Math.max(1, count / MOST_POINTS);
  const kept = new Float64Array(2 * Math.floor(count / step));
  for (let k = 0; k < kept.length / 2; k++) {
    kept[2 * k] = xy[2 * Math.floor(k * step)];
    kept[2 * k + 1] = xy[2 * Math.floor(k * step) + 1];
  }
  return kept;
}

/** Climb to the best place by steps that become finer. */
function climb(
  xy: Float64Array,
  start: Shape,
  sensor: readonly [number, number],
): Pick<Refit, "shape" | "score"> {
  let best = start;
  let score = scoreOf(xy, best, start, sensor);
  for (const { step_m, step_rad } of ROUNDS) {
    for (let again = 0; again < 8; again++) {
      const from = best;
      for (const dx of [-1, 0, 1])
        for (const dy of [-1, 0, 1])
          for (const turn of [-1, 0, 1]) {
            const moved = shifted(from, dx * step_m, dy * step_m, turn * step_rad);
            const found = scoreOf(xy, moved, start, sensor);
            if (found <= score) continue;
            score = found;
            best = moved;
          }
      if (best === from) break;
    }
  }
  return { shape: best, score };
}

function shifted(shape: Shape, along: number, across: number, turn: number): Shape {
  const [c, s] = [Math.cos(shape.yaw_rad), Math.sin(shape.yaw_rad)];
  const [x, y, z] = shape.center_xyz_m;
  return {
    ...shape,
    center_xyz_m: [x + c * along - s * across, y + s * along + c * across, z],
    yaw_rad: wrapAngle(shape.yaw_rad + turn),
  };
}

/** Return how well the points lie on the faces that the sensor sees, per point. */
function scoreOf(
  xy: Float64Array,
  shape: Shape,
  start: Shape,
  sensor: readonly [number, number],
): number {
  const [c, s] = [Math.cos(shape.yaw_rad), Math.sin(shape.yaw_rad)];
  const [x, y] = shape.center_xyz_m;
  const [l, w] = [shape.size_lwh_m[0] / 2, shape.size_lwh_m[1] / 2];
  const [sx, sy] = [sensor[0] - x, sensor[1] - y];
  const front = Math.sign(c * sx + s * sy) * l; // the end that faces the sensor
  const side = Math.sign(c * sy - s * sx) * w;
  let sum = 0;
  for (let i = 0; i < xy.length; i += 2) {
    const [dx, dy] = [xy[i] - x, xy[i + 1] - y];
    const u = c * dx + s * dy;
    const v = c * dy - s * dx;
    const beyond = Math.max(Math.abs(u) - l, Math.abs(v) - w);
    const away = Math.min(Math.abs(u - front), Math.abs(v - side));
    const off = beyond > 0 ? OUTSIDE * Math.min(beyond, 0.4) : 0;
    const close = 1 / (1 + (Math.max(beyond, beyond > 0 ? 0 : away) / NEAR_M) ** 2);
    sum += close - off / NEAR_M;
  }
  const [mx, my] = [x - start.center_xyz_m[0], y - start.center_xyz_m[1]];
  const turned = Math.abs(wrapAngle(shape.yaw_rad - start.yaw_rad)) * l;
  return (2 * sum) / xy.length - STIFF * (Math.hypot(mx, my) + turned);
}
