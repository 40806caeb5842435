/** From the visible rectangle of an object to its whole box: which class, which way, how large. */

import type { Rectangle } from "./lshape";
import { wrapAngle } from "./pose";
import type { Category, Vec3 } from "./types";

/** What is seen of an object. */
export interface Visible {
  readonly rectangle: Rectangle;
  /** From the ground to the highest point. */
  readonly height_m: number;
  /** Where it is seen from, ego frame. */
  readonly sensor_xy_m: readonly [number, number];
}

/** A class with one of the two ways in which its length can lie. */
export interface Guess {
  readonly category: Category;
  /** Of the length: theta of the rectangle, or a quarter more. */
  readonly yaw_rad: number;
  /** Range of the points along the length and across it. */
  readonly along: readonly [number, number];
  readonly across: readonly [number, number];
  /** 0 where everything fits; above `MISFIT` it is something else. */
  readonly cost: number;
}

export const MISFIT = 1.2;

const TOO_LARGE = 5; // an object cannot be seen larger than it is, only smaller
const HEIGHT_WEIGHT = 0.7;
/** A side shorter than this share of the usual size is seen in part. */
const WHOLE = 0.8;
/** Ends are rarely seen to the last point: so much of what lacks to the usual size is added. */
const UNSEEN = 0.7;
/** A side this much turned away tells nothing of its length. */
const EDGE_ON = 0.2;
/** Points lie inside the surface that people draw around; a box is this much larger on each side. */
const SKIN_M = 0.09;

/** Return the likeliest class and direction among the categories. */
export function guess(visible: Visible, categories: readonly Category[]): Guess {
  const { theta_rad: theta, along, across } = visible.rectangle;
  const turned = [-along[1], -along[0]] as const;
  let best: Guess | null = null;
  for (const category of categories) {
    const ways: Omit<Guess, "cost">[] = [
      { category, yaw_rad: theta, along, across },
      { category, yaw_rad: theta + Math.PI / 2, along: across, across: turned },
    ];
    for (const way of ways) {
      const cost = costOf(visible, way);
      if (!best || cost < best.cost) best = { ...way, cost };
    }
  }
  return best!;
}

function costOf(visible: Visible, way: Omit<Guess, "cost">): number {
  const [l, w, h] = way.category.default_size_lwh_m;
  const [seenL, seenW] = sidesSeen(visible, way);
  return (
    mismatch(way.along[1] - way.along[0], l, seenL) +
    mismatch(way.across[1] - way.across[0], w, seenW) +
    mismatch(visible.height_m, h, HEIGHT_WEIGHT)
  );
}

function mismatch(extent: number, size: number, seen: number): number {
  const ratio = Math.log(Math.max(extent, 0.05) / size);
  return ratio > 0 ? TOO_LARGE * ratio * ratio + ratio : -ratio * seen;
}

/** Return how frontally the long and the short side are looked at, 0 to 1. */
function sidesSeen({ sensor_xy_m }: Visible, way: Omit<Guess, "cost">): [number, number] {
  const [c, s] = [Math.cos(way.yaw_rad), Math.sin(way.yaw_rad)];
  const du = (way.along[0] + way.along[1]) / 2 - (c * sensor_xy_m[0] + s * sensor_xy_m[1]);
  const dv = (way.across[0] + way.across[1]) / 2 - (c * sensor_xy_m[1] - s * sensor_xy_m[0]);
  const distance = Math.max(Math.hypot(du, dv), 1e-6);
  return [Math.abs(dv) / distance, Math.abs(du) / distance];
}

/**
 * Return centre (from above), size and yaw of the whole object.
 *
 * The sides that face the sensor stay where they are seen; what is missing is added behind them.
 *
 * @param yawHint the heading is the one of the two that is nearer to this.
 */
export function complete(
  visible: Visible,
  way: Guess,
  yawHint: number,
): { center_xy_m: readonly [number, number]; size_lwh_m: Vec3; yaw_rad: number } {
  const [l, w, h] = way.category.default_size_lwh_m;
  const [c, s] = [Math.cos(way.yaw_rad), Math.sin(way.yaw_rad)];
  const [sx, sy] = visible.sensor_xy_m;
  const [seenL, seenW] = sidesSeen(visible, way);
  const [u, length] = extended(way.along, l, seenL, c * sx + s * sy);
  const [v, width] = extended(way.across, w, seenW, c * sy - s * sx);
  const tall = visible.height_m + SKIN_M;
  const height = tall >= WHOLE * h ? tall : h;
  const away = Math.cos(way.yaw_rad - yawHint) < 0;
  return {
    center_xy_m: [c * u - s * v, s * u + c * v],
    size_lwh_m: [length, width, height],
    yaw_rad: wrapAngle(way.yaw_rad + (away ? Math.PI : 0)),
  };
}

/** Return middle and length of one side. */
function extended(
  [low, high]: readonly [number, number],
  usual: number,
  seen: number,
  sensor: number,
): [number, number] {
  const extent = high - low + 2 * SKIN_M;
  const whole = extent >= WHOLE * usual && seen > EDGE_ON;
  const size = extent + (whole ? UNSEEN : 1) * Math.max(usual - extent, 0);
  if (sensor < low) return [low - SKIN_M + size / 2, size];
  if (sensor > high) return [high + SKIN_M - size / 2, size];
  return [(low + high) / 2, size];
}
