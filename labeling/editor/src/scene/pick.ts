/** What lies under the pointer: boxes by the line of sight, points by their picture. */

import type * as THREE from "three";
import type { Shape } from "../core/geometry";
import type { Pixel, View } from "../views/view";

/** Return how far along a ray it enters a box; null if it misses. */
export function rayHitsBox(ray: THREE.Ray, box: Shape): number | null {
  const [cos, sin] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  const [dx, dy, dz] = ray.origin.toArray().map((value, i) => value - box.center_xyz_m[i]);
  const { direction } = ray;
  const origin = [dx * cos + dy * sin, dy * cos - dx * sin, dz];
  const toward = [
    direction.x * cos + direction.y * sin,
    direction.y * cos - direction.x * sin,
    direction.z,
  ];
  let enter = Number.NEGATIVE_INFINITY;
  let leave = Number.POSITIVE_INFINITY;
  for (let axis = 0; axis < 3; axis++) {
    const half = box.size_lwh_m[axis] / 2;
    const a = (-half - origin[axis]) / toward[axis];
    const b = (half - origin[axis]) / toward[axis];
    if (Number.isNaN(a) || Number.isNaN(b)) return null; // runs in the plane of a face
    enter = Math.max(enter, Math.min(a, b));
    leave = Math.min(leave, Math.max(a, b));
  }
  return leave < Math.max(enter, 0) ? null : Math.max(enter, 0);
}

/** Return the index of the box that a view shows nearest to the eye at a pixel; -1 for none. */
export function boxAt(view: View, pixel: Pixel, boxes: readonly Shape[]): number {
  const ray = view.ray(pixel);
  let best = -1;
  let nearest = Number.POSITIVE_INFINITY;
  boxes.forEach((box, i) => {
    const along = rayHitsBox(ray, box);
    if (along !== null && along < nearest) [best, nearest] = [i, along];
  });
  return best;
}

/**
 * Return the index of the point whose picture is nearest to a pixel, preferring what is in front;
 * -1 if there is none within `reachPx`.
 */
export function pointAt(view: View, pixel: Pixel, xyz: Float32Array, reachPx = 9): number {
  const m = view.clipFromEgo().elements;
  const targetX = (pixel.x / view.width) * 2 - 1;
  const targetY = 1 - (pixel.y / view.height) * 2;
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < xyz.length; i += 3) {
    const [x, y, z] = [xyz[i], xyz[i + 1], xyz[i + 2]];
    const w = m[3] * x + m[7] * y + m[11] * z + m[15];
    if (w <= 0) continue;
    const dx = ((m[0] * x + m[4] * y + m[8] * z + m[12]) / w - targetX) * view.width * 0.5;
    const dy = ((m[1] * x + m[5] * y + m[9] * z + m[13]) / w - targetY) * view.height * 0.5;
    const apart = Math.hypot(dx, dy);
    if (apart > reachPx) continue;
    const depth = (m[2] * x + m[6] * y + m[10] * z + m[14]) / w;
    if (depth < -1 || depth > 1) continue;
    const cost = apart + w * 0.15;
    if (cost < least) [best, least] = [i / 3, cost];
  }
  return best;
}
