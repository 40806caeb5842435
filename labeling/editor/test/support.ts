/** Helpers of the tests: random poses and boxes, a small clip, files written by the Python code. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { compose, fromYaw } from "../src/core/pose";
import type { Box, Clip, SE3, Vec3 } from "../src/core/types";

const meters = fc.double({ min: -1000, max: 1000, noNaN: true });
export const points = fc.tuple(meters, meters, meters) as fc.Arbitrary<Vec3>;
export const angles = fc.double({ min: -20, max: 20, noNaN: true });

/** Any rotation: about z, then x, then z. */
export const transforms: fc.Arbitrary<SE3> = fc
  .tuple(angles, angles, angles, points)
  .map(([first, tilt, last, shift]) => {
    const [c, s] = [Math.cos(tilt), Math.sin(tilt)];
    const tilted: SE3 = [1, 0, 0, 0, 0, c, -s, 0, 0, s, c, 0, 0, 0, 0, 1];
    return compose(fromYaw(last, shift), compose(tilted, fromYaw(first, [0, 0, 0])));
  });

/** Return the JSON of a file beside this one. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`./golden/${name}`, import.meta.url), "utf8")) as T;
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "base64"));
}

export const CATEGORIES = [
  { name: "car", color: "#56b4e9", default_size_lwh_m: [4.6, 1.9, 1.7] as Vec3 },
  { name: "truck", color: "#0072b2", default_size_lwh_m: [7.5, 2.5, 3.0] as Vec3 },
  { name: "pedestrian", color: "#e69f00", default_size_lwh_m: [0.7, 0.7, 1.75] as Vec3 },
];

/** Return a clip of 10 Hz whose ego vehicle drives at 10 m/s and turns, on ground that rises. */
export function drivingClip(numFrames: number): Clip {
  return {
    task_id: "task",
    title: "a drive",
    version: "1",
    categories: CATEGORIES,
    frames: Array.from({ length: numFrames }, (_, index) => ({
      index,
      timestamp_ns: 1.7e18 + index * 1e8,
      map_SE3_ego: fromYaw(0.02 * index, [index, 0.01 * index ** 2, 0.02 * index]),
      points_url: `/points/${index}`,
      num_points: 0,
      images: [],
    })),
  };
}

export function box(part: Partial<Box> = {}): Box {
  return {
    track_id: "1",
    frame: 0,
    category: "car",
    center_xyz_m: [10, 2, 0.9],
    size_lwh_m: [4.5, 1.9, 1.7],
    yaw_rad: 0.1,
    origin: "manual",
    key_frame: true,
    attributes: {},
    ...part,
  };
}

/** Return a random number generator in [0, 1) that gives the same numbers every time. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
