/** Boxes as shapes: corners, points inside, overlap. Same frame throughout, meters and radians. */
import type { Box, Vec3 } from "./types";

/** What of a box is shape. */
export type Shape = Pick<Box, "center_xyz_m" | "size_lwh_m" | "yaw_rad">;

export type Vec2 = readonly [number, number];

/** Pairs of corners that are edges of a cuboid: top, bottom, upright; the first 4 are the front's. */
export const EDGES: readonly (readonly [number, number])[] = [
  ...([[0, 1], [1, 5], [5, 4], [4, 0]] as const),
  ...([[2, 3], [3, 7], [7, 6], [6, 2]] as const),
  ...([[0, 3], [1, 2], [5, 6], [4, 7]] as const),
]; // biome-ignore format: pairs

/** Return from above: front left, front right, rear right, rear left. */
export function cornersBev(box: Shape): [Vec2, Vec2, Vec2, Vec2] {
  const [l, w] = box.size_lwh_m;
  const [c, s] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  const [x, y] = box.center_xyz_m;
  const corner = (along: number, across: number): Vec2 => [
    x + (c * along * l - s * across * w) / 2,
    y + (s * along * l + c * across * w) / 2,
  ];
  return [corner(1, 1), corner(1, -1), corner(-1, -1), corner(-1, 1)];
}

/**
 * Return the 8 corners: front left top, front right top, front right bottom, front left bottom,
 * then the same at the rear.
 */
export function corners(box: Shape): Vec3[] {
  const [frontLeft, frontRight, rearRight, rearLeft] = cornersBev(box);
  const top = box.center_xyz_m[2] + box.size_lwh_m[2] / 2;
  const bottom = box.center_xyz_m[2] - box.size_lwh_m[2] / 2;
  const side = ([lx, ly]: Vec2, [rx, ry]: Vec2): Vec3[] => [
    [lx, ly, top],
    [rx, ry, top],
    [rx, ry, bottom],
    [lx, ly, bottom],
  ];
  return [...side(frontLeft, frontRight), ...side(rearLeft, rearRight)];
}

/** Return a point in the axes of the box: along, across to the left, up from its centre. */
export function toBox(box: Shape, [x, y, z]: Vec3): Vec3 {
  const [c, s] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  const [dx, dy] = [x - box.center_xyz_m[0], y - box.center_xyz_m[1]];
  return [c * dx + s * dy, -s * dx + c * dy, z - box.center_xyz_m[2]];
}

/** Return the centre after a shift along the box's own axes. */
export function moved(box: Shape, shift: Vec3): Vec3 {
  const [c, s] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  const [x, y, z] = box.center_xyz_m;
  return [x + c * shift[0] - s * shift[1], y + s * shift[0] + c * shift[1], z + shift[2]];
}

/**
 * Return the indices of the points inside, faces included.
 *
 * @param xyz_m (3 N) points.
 * @param marginM every face is moved outwards by this.
 */
export function pointsInBox(xyz_m: Float32Array, box: Shape, marginM = 0): number[] {
  const [cx, cy, cz] = box.center_xyz_m;
  const [l, w, h] = box.size_lwh_m.map((size) => size / 2 + marginM);
  const [c, s] = [Math.cos(box.yaw_rad), Math.sin(box.yaw_rad)];
  const reach = Math.hypot(l, w);
  const inside: number[] = [];
  for (let i = 0, at = 0; at < xyz_m.length; i++, at += 3) {
    const dx = xyz_m[at] - cx;
    if (dx > reach || dx < -reach) continue;
    const dy = xyz_m[at + 1] - cy;
    if (dy > reach || dy < -reach) continue;
    const dz = xyz_m[at + 2] - cz;
    if (dz > h || dz < -h) continue;
    const along = c * dx + s * dy;
    const across = c * dy - s * dx;
    if (along <= l && along >= -l && across <= w && across >= -w) inside.push(i);
  }
  return inside;
}

/** Return the area of a polygon whose corners go round either way. */
export function polygonArea(polygon: readonly Vec2[]): number {
  let twice = 0;
  for (let i = 0; i < polygon.length; i++) {
    const [x0, y0] = polygon[i];
    const [x1, y1] = polygon[(i + 1) % polygon.length];
    twice += x0 * y1 - x1 * y0;
  }
  return Math.abs(twice) / 2;
}

/**
 * Return the intersection of two convex polygons whose corners go clockwise.
 *
 * Source: Sutherland and Hodgman, "Reentrant polygon clipping", 1974.
 */
export function clipPolygon(subject: readonly Vec2[], clip: readonly Vec2[]): Vec2[] {
  let kept: Vec2[] = [...subject];
  for (let i = 0; i < clip.length && kept.length; i++) {
    const [ax, ay] = clip[i];
    const [bx, by] = clip[(i + 1) % clip.length];
    const side = ([x, y]: Vec2) => (by - ay) * (x - ax) - (bx - ax) * (y - ay);
    const input = kept;
    kept = [];
    for (let k = 0; k < input.length; k++) {
      const [p, q] = [input[k], input[(k + 1) % input.length]];
      const [sp, sq] = [side(p), side(q)];
      if (sp >= 0) kept.push(p);
      if (sp >= 0 === sq >= 0) continue;
      const t = sp / (sp - sq);
      kept.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
    }
  }
  return kept;
}

/** Return the overlap of two boxes from above: intersection over union, 0 to 1. */
export function bevIou(a: Shape, b: Shape): number {
  const [areaA, areaB] = [a, b].map(({ size_lwh_m: [l, w] }) => l * w);
  const common = polygonArea(clipPolygon(cornersBev(a), cornersBev(b)));
  return Math.min(1, common / (areaA + areaB - common));
}

/** Return the overlap of two boxes in space: intersection over union, 0 to 1. */
export function iou3d(a: Shape, b: Shape): number {
  const [low, high] = [a, b].map(({ center_xyz_m: c, size_lwh_m: s }) => [
    c[2] - s[2] / 2,
    c[2] + s[2] / 2,
  ]);
  const height = Math.min(low[1], high[1]) - Math.max(low[0], high[0]);
  if (height <= 0) return 0;
  const volumes = [a, b].map(({ size_lwh_m: [l, w, h] }) => l * w * h);
  const common = height * polygonArea(clipPolygon(cornersBev(a), cornersBev(b)));
  return Math.min(1, common / (volumes[0] + volumes[1] - common));
}
