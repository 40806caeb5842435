/** Boxes in camera images: pinhole projection, cut at the image plane. */
import { corners, EDGES, type Shape } from "./geometry";
import { transformPoint } from "./pose";
import type { Camera, Vec3 } from "./types";

export type Pixel = readonly [number, number];

/** A line in the image, from one pixel to another. */
export interface Segment {
  readonly from: Pixel;
  readonly to: Pixel;
  /** Whether it is an edge of the front face. */
  readonly front: boolean;
}

/** What is nearer to the image plane is cut off. */
const NEAR_M = 0.1;

/** Return pixel and depth of a point of the ego frame; depth is not positive behind the camera. */
export function projectPoint(camera: Camera, point: Vec3): { pixel: Pixel; depth_m: number } {
  const inCamera = transformPoint(camera.camera_SE3_ego, point);
  return { pixel: pixelOf(camera, inCamera), depth_m: inCamera[2] };
}

function pixelOf({ K }: Camera, [x, y, z]: Vec3): Pixel {
  return [(K[0] * x + K[1] * y) / z + K[2], (K[3] * x + K[4] * y) / z + K[5]];
}

/** Return the edges of a box as lines of the image; none where it is not seen. */
export function projectBox(camera: Camera, box: Shape): Segment[] {
  const points = corners(box).map((corner) => transformPoint(camera.camera_SE3_ego, corner));
  const isFront = (i: number) => i < 4;
  const segments: Segment[] = [];
  for (const [a, b] of EDGES) {
    const cut = cutAtNear(points[a], points[b]);
    if (!cut) continue;
    const segment = { from: pixelOf(camera, cut[0]), to: pixelOf(camera, cut[1]) };
    segments.push({ ...segment, front: isFront(a) && isFront(b) });
  }
  return segments.some((segment) => touches(camera, segment)) ? segments : [];
}

function cutAtNear(a: Vec3, b: Vec3): [Vec3, Vec3] | null {
  if (a[2] < NEAR_M && b[2] < NEAR_M) return null;
  if (a[2] >= NEAR_M && b[2] >= NEAR_M) return [a, b];
  const t = (NEAR_M - a[2]) / (b[2] - a[2]);
  const at: Vec3 = [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), NEAR_M];
  return a[2] < NEAR_M ? [at, b] : [a, at];
}

/** Return whether a line may show: its bounding rectangle meets the image. */
function touches({ width, height }: Camera, { from, to }: Pick<Segment, "from" | "to">): boolean {
  return (
    Math.max(from[0], to[0]) >= 0 &&
    Math.min(from[0], to[0]) < width &&
    Math.max(from[1], to[1]) >= 0 &&
    Math.min(from[1], to[1]) < height
  );
}

/** Return the cameras that see the centre of a box, the one that sees it most in the middle first. */
export function camerasOf(cameras: readonly Camera[], box: Shape): Camera[] {
  const seen: { camera: Camera; off: number }[] = [];
  for (const camera of cameras) {
    const { pixel, depth_m } = projectPoint(camera, box.center_xyz_m);
    const off = Math.abs(pixel[0] / camera.width - 0.5);
    if (depth_m > 0 && off <= 0.5) seen.push({ camera, off });
  }
  return seen.sort((a, b) => a.off - b.off).map(({ camera }) => camera);
}
