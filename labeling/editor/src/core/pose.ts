/** Rigid transforms as 16 row-major numbers; `dst_SE3_src` maps coordinates in `src` to `dst`. */
import type { SE3, Vec3 } from "./types";

export const IDENTITY: SE3 = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** Return the angle in (-pi, pi]. */
export function wrapAngle(angleRad: number): number {
  const turned = -angleRad + Math.PI;
  const full = 2 * Math.PI;
  return -(turned - full * Math.floor(turned / full) - Math.PI);
}

/** Return the transform that rotates about z, then translates. */
export function fromYaw(yawRad: number, translationM: Vec3): SE3 {
  const c = Math.cos(yawRad);
  const s = Math.sin(yawRad);
  const [x, y, z] = translationM;
  return [c, -s, 0, x, s, c, 0, y, 0, 0, 1, z, 0, 0, 0, 1];
}

/** Return `a_SE3_c` of `a_SE3_b` and `b_SE3_c`. */
export function compose(a: SE3, b: SE3): SE3 {
  const out = new Array<number>(16).fill(0);
  for (let row = 0; row < 4; row++) {
    for (let column = 0; column < 4; column++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * row + k] * b[4 * k + column];
      out[4 * row + column] = sum;
    }
  }
  return out;
}

/** Return `src_SE3_dst`. */
export function inverse(t: SE3): SE3 {
  const [x, y, z] = [t[3], t[7], t[11]];
  return [
    ...[t[0], t[4], t[8], -(t[0] * x + t[4] * y + t[8] * z)],
    ...[t[1], t[5], t[9], -(t[1] * x + t[5] * y + t[9] * z)],
    ...[t[2], t[6], t[10], -(t[2] * x + t[6] * y + t[10] * z)],
    ...[0, 0, 0, 1],
  ];
}

/** Return one point in the destination frame. */
export function transformPoint(t: SE3, p: Vec3): Vec3 {
  return [
    t[0] * p[0] + t[1] * p[1] + t[2] * p[2] + t[3],
    t[4] * p[0] + t[5] * p[1] + t[6] * p[2] + t[7],
    t[8] * p[0] + t[9] * p[1] + t[10] * p[2] + t[11],
  ];
}

/** Return (3 N) points in the destination frame; writes into `out` where one is given. */
export function transformPoints(
  t: SE3,
  points: Float32Array,
  out: Float32Array = new Float32Array(points.length),
): Float32Array {
  const [a, b, c, x, d, e, f, y, g, h, k, z] = t;
  for (let i = 0; i < points.length; i += 3) {
    const p = points[i];
    const q = points[i + 1];
    const r = points[i + 2];
    out[i] = a * p + b * q + c * r + x;
    out[i + 1] = d * p + e * q + f * r + y;
    out[i + 2] = g * p + h * q + k * r + z;
  }
  return out;
}

/** Return the heading in the destination frame, as `Boxes.transform` of the Python code does. */
export function transformYaw(t: SE3, yawRad: number): number {
  const c = Math.cos(yawRad);
  const s = Math.sin(yawRad);
  return Math.atan2(t[4] * c + t[5] * s, t[0] * c + t[1] * s);
}
