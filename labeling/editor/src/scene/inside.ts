/** Which points of a sweep lie in a box, asked often: only those near it are looked at. */

import type { Shape } from "../core/geometry";
import type { SweepIndex } from "../core/sweep-index";

/** Call `visit` with the number of every point inside a box, faces included. */
export function eachInside(index: SweepIndex, box: Shape, visit: (point: number) => void): void {
  const { xyz_m } = index;
  const [x, y, z] = box.center_xyz_m;
  const [halfL, halfW, halfH] = box.size_lwh_m.map((size) => size / 2);
  const [cos, sin] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  for (const i of index.near(x, y, Math.hypot(halfL, halfW))) {
    const [dx, dy] = [xyz_m[3 * i] - x, xyz_m[3 * i + 1] - y];
    if (Math.abs(xyz_m[3 * i + 2] - z) > halfH) continue;
    if (Math.abs(dx * cos + dy * sin) > halfL || Math.abs(dy * cos - dx * sin) > halfW) continue;
    visit(i);
  }
}

/** Return the number of points inside a box. */
export function countInside(index: SweepIndex, box: Shape): number {
  let count = 0;
  eachInside(index, box, () => count++);
  return count;
}
