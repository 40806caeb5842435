/** How alike two frames look inside a box: whether it is the same object that lies there. */
import { type Shape, toBox } from "./geometry";
import { indexOf } from "./sweep-index";
import type { Points } from "./types";

const CELL_M = 0.25;
const AROUND_M = 0.5; // free space around an object belongs to its looks
const ABOVE_M = 0.3;

/** Points of a box by small cells seen from above: the share of the points in each. */
export type Looks = ReadonlyMap<number, number>;

/** Return the looks of a box with its surroundings. */
export function looksOf(points: Pick<Points, "xyz_m">, shape: Shape): Looks {
  const { xyz_m } = points;
  const [x, y] = shape.center_xyz_m;
  const [l, w, h] = shape.size_lwh_m.map((size) => size / 2);
  const counts = new Map<number, number>();
  let total = 0;
  for (const i of indexOf(points).near(x, y, Math.hypot(l, w) + AROUND_M)) {
    const [u, v, up] = toBox(shape, [xyz_m[3 * i], xyz_m[3 * i + 1], xyz_m[3 * i + 2]]);
    if (Math.abs(u) > l + AROUND_M || Math.abs(v) > w + AROUND_M) continue;
    if (up < ABOVE_M - h || up > h + ABOVE_M) continue;
    const cell = Math.round(u / CELL_M) * 1000 + Math.round(v / CELL_M);
    counts.set(cell, (counts.get(cell) ?? 0) + 1);
    total++;
  }
  for (const [cell, count] of counts) counts.set(cell, count / total);
  return counts;
}

/** Return the share that two looks have in common, 0 to 1. */
export function likeness(a: Looks, b: Looks): number {
  let common = 0;
  for (const [cell, share] of a) common += Math.min(share, b.get(cell) ?? 0);
  return common;
}
