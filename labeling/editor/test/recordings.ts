/** A clip that `tests/support/editor_golden.py` wrote from a recording with true boxes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeSweep } from "../src/core/codec";
import { pointsInBox, type Shape } from "../src/core/geometry";
import { motionOf } from "../src/core/motion";
import { wrapAngle } from "../src/core/pose";
import type { Category, Frame, Points, SE3, Vec3 } from "../src/core/types";

interface FrameJson {
  readonly timestamp_ns: number;
  readonly map_SE3_ego: SE3;
  readonly truth: {
    readonly center_xyz_m: Vec3[];
    readonly size_lwh_m: Vec3[];
    readonly yaw_rad: number[];
    readonly category: string[];
    readonly track_id: string[];
  };
}

export interface Truth extends Shape {
  readonly category: string;
  readonly track_id: string;
  readonly frame: number;
}

/** Return frames, motion, true boxes and a reader of the points. */
export function readClip(folder: string) {
  const json = JSON.parse(readFileSync(join(folder, "clip.json"), "utf8")) as FrameJson[];
  const frames: Frame[] = json.map(({ timestamp_ns, map_SE3_ego }, index) => ({
    index,
    timestamp_ns,
    map_SE3_ego,
    points_url: "",
    num_points: 0,
    images: [],
  }));
  const truth: Truth[][] = json.map(({ truth: t }, frame) =>
    t.yaw_rad.map((yaw_rad, i) => ({
      center_xyz_m: t.center_xyz_m[i],
      size_lwh_m: t.size_lwh_m[i],
      yaw_rad,
      category: t.category[i],
      track_id: t.track_id[i],
      frame,
    })),
  );
  const points = (frame: number): Points =>
    decodeSweep(new Uint8Array(readFileSync(join(folder, `${frame}.slpc`))));
  return { frames, motion: motionOf({ frames }), truth, points };
}

/** The categories and usual sizes of `scene/taxonomy.py`. */
export const TAXONOMY: Category[] = (
  [
    ["car", 4.6, 1.9, 1.7],
    ["truck", 7.5, 2.5, 3.0],
    ["bus", 11.0, 2.9, 3.4],
    ["trailer", 12.0, 2.9, 3.9],
    ["construction_vehicle", 6.5, 2.8, 3.2],
    ["pedestrian", 0.7, 0.7, 1.75],
    ["motorcycle", 2.1, 0.8, 1.5],
    ["bicycle", 1.8, 0.6, 1.6],
    ["traffic_cone", 0.4, 0.4, 1.0],
    ["barrier", 0.5, 2.5, 1.0],
  ] as [string, number, number, number][]
).map(([name, l, w, h]) => ({ name, color: "#000000", default_size_lwh_m: [l, w, h] }));

/** Return points of a box above the ground, from the 40 % to the 90 % of their heights. */
export function clickOn(points: Points, box: Shape, random: () => number): Vec3 | null {
  const inside = pointsInBox(points.xyz_m, box);
  const bottom = box.center_xyz_m[2] - box.size_lwh_m[2] / 2;
  const good = inside.filter((i) => {
    const share = (points.xyz_m[3 * i + 2] - bottom) / box.size_lwh_m[2];
    return share > 0.3 && share < 0.95;
  });
  if (!good.length) return null;
  const i = good[Math.floor(random() * good.length)];
  return [points.xyz_m[3 * i], points.xyz_m[3 * i + 1], points.xyz_m[3 * i + 2]];
}

export interface Errors {
  readonly center_m: number;
  readonly bottom_m: number;
  readonly size_m: number;
  readonly yaw_deg: number;
  /** As if front and rear were the same. */
  readonly axis_deg: number;
}

export function errorsOf(found: Shape, truth: Shape): Errors {
  const [a, b] = [found.center_xyz_m, truth.center_xyz_m];
  const yaw = Math.abs(wrapAngle(found.yaw_rad - truth.yaw_rad));
  const bottom = (shape: Shape) => shape.center_xyz_m[2] - shape.size_lwh_m[2] / 2;
  const sizes = found.size_lwh_m.map((size, i) => Math.abs(size - truth.size_lwh_m[i]));
  return {
    center_m: Math.hypot(a[0] - b[0], a[1] - b[1]),
    bottom_m: Math.abs(bottom(found) - bottom(truth)),
    size_m: (sizes[0] + sizes[1] + sizes[2]) / 3,
    yaw_deg: (yaw * 180) / Math.PI,
    axis_deg: (Math.min(yaw, Math.PI - yaw) * 180) / Math.PI,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor((sorted.length - 1) / 2)] : Number.NaN;
}
