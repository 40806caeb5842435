/** Points of simple objects as a lidar at the origin, 1.8 m up, would see them. */
import { type Shape, toBox } from "../src/core/geometry";
import { generator } from "./support";

const SENSOR_M = 1.8;

/** Return (3 N) points: rays to the nearest of the objects and the ground. */
export function scan(shapes: readonly Shape[], options: { ground?: number; seed?: number } = {}) {
  const random = generator(options.seed ?? 1);
  const ground = options.ground ?? 0;
  const xyz: number[] = [];
  for (let ring = 0; ring < 32; ring++) {
    const tilt = ((-24 + 0.9 * ring) * Math.PI) / 180;
    for (let column = 0; column < 900; column++) {
      const azimuth = (column * 2 * Math.PI) / 900;
      const ray = [
        Math.cos(tilt) * Math.cos(azimuth),
        Math.cos(tilt) * Math.sin(azimuth),
        Math.sin(tilt),
      ] as const;
      let distance = ray[2] < 0 ? (ground - SENSOR_M) / ray[2] : Number.POSITIVE_INFINITY;
      for (const shape of shapes) distance = Math.min(distance, hit(shape, ray));
      if (distance > 70) continue;
      const noisy = distance + 0.02 * (random() - 0.5);
      xyz.push(ray[0] * noisy, ray[1] * noisy, SENSOR_M + ray[2] * noisy);
    }
  }
  return { xyz_m: new Float32Array(xyz) };
}

/** Return the distance along a ray from the sensor to a cuboid, infinite where it misses. */
function hit(shape: Shape, [rx, ry, rz]: readonly [number, number, number]): number {
  const from = toBox(shape, [0, 0, SENSOR_M]);
  const to = toBox(shape, [rx, ry, SENSOR_M + rz]);
  let [enter, leave] = [0, Number.POSITIVE_INFINITY];
  for (let axis = 0; axis < 3; axis++) {
    const half = shape.size_lwh_m[axis] / 2;
    const speed = to[axis] - from[axis];
    if (Math.abs(speed) < 1e-12) {
      if (Math.abs(from[axis]) > half) return Number.POSITIVE_INFINITY;
      continue;
    }
    const [a, b] = [(-half - from[axis]) / speed, (half - from[axis]) / speed];
    enter = Math.max(enter, Math.min(a, b));
    leave = Math.min(leave, Math.max(a, b));
  }
  return enter <= leave && enter > 0 ? enter : Number.POSITIVE_INFINITY;
}
