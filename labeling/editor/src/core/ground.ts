/** The ground around a place: a plane through the lowest points, robust to what stands on it. */
import type { SweepIndex } from "./sweep-index";

/** z = height + slopeX * (x - x0) + slopeY * (y - y0). */
export interface GroundPlane {
  readonly x0: number;
  readonly y0: number;
  readonly height_m: number;
  readonly slopeX: number;
  readonly slopeY: number;
  /** Root mean square distance of the ground's cells from the plane. */
  readonly residual_m: number;
}

export function groundAt(plane: GroundPlane, x: number, y: number): number {
  return plane.height_m + plane.slopeX * (x - plane.x0) + plane.slopeY * (y - plane.y0);
}

const CELL_M = 1.0;
const RADII_M = [6, 10, 16, 25];
const LEAST_CELLS = 10;
/** A lowest point is not trusted where there is only one: it may be a reflection. */
const LEAST_POINTS = 2;
const ROUNDS = 8;
/** Steeper than this is a wall, a hedge or a ramp that is not under the object. */
const STEEPEST = 0.15;
const TIGHTEST_M = 0.08;

/**
 * Return the ground under a place, or null where no ground is seen within 25 m.
 *
 * The lowest point of every square meter takes part; those above the plane of the others are
 * dropped round by round, so that roofs, walls and vegetation do not lift it.
 */
export function findGround(index: SweepIndex, x: number, y: number): GroundPlane | null {
  for (const radius of RADII_M) {
    const lowest = lowestPoints(index, x, y, radius);
    if (lowest.length < LEAST_CELLS) continue;
    const plane = fitPlane(lowest, x, y);
    if (plane) return plane;
  }
  return null;
}

type Low = readonly [number, number, number];

function lowestPoints(index: SweepIndex, x: number, y: number, radiusM: number): Low[] {
  const { xyz_m } = index;
  const side = Math.ceil((2 * radiusM) / CELL_M) + 1;
  const lowest = new Int32Array(side * side).fill(-1);
  const counts = new Uint16Array(side * side);
  for (const i of index.near(x, y, radiusM)) {
    const row = Math.floor((xyz_m[3 * i] - x + radiusM) / CELL_M);
    const cell = row * side + Math.floor((xyz_m[3 * i + 1] - y + radiusM) / CELL_M);
    counts[cell]++;
    const best = lowest[cell];
    if (best < 0 || xyz_m[3 * i + 2] < xyz_m[3 * best + 2]) lowest[cell] = i;
  }
  const found: Low[] = [];
  for (let cell = 0; cell < lowest.length; cell++) {
    const at = 3 * lowest[cell];
    if (counts[cell] >= LEAST_POINTS) found.push([xyz_m[at], xyz_m[at + 1], xyz_m[at + 2]]);
  }
  return found;
}

/** Fit a plane to the lower ones; each round keeps what is near the plane of the last one. */
function fitPlane(points: readonly Low[], x0: number, y0: number): GroundPlane | null {
  const heights = points.map(([, , z]) => z).sort((a, b) => a - b);
  const low = heights[Math.floor(heights.length * 0.2)];
  let limit = 0.5;
  let kept = points.filter(([, , z]) => z < low + limit);
  let plane: GroundPlane | null = null;
  for (let round = 0; round < ROUNDS; round++) {
    if (kept.length < 3) break;
    plane = leastSquares(kept, x0, y0);
    limit = Math.max(TIGHTEST_M, 2 * plane.residual_m);
    const current = plane;
    // a point below the plane is more likely ground than one above it
    kept = points.filter(([x, y, z]) => {
      const above = z - groundAt(current, x, y);
      return above < limit && above > -2 * limit;
    });
  }
  return plane;
}

function leastSquares(points: readonly Low[], x0: number, y0: number): GroundPlane {
  const count = points.length;
  const mean = [0, 1, 2].map((k) => points.reduce((sum, p) => sum + p[k], 0) / count);
  let [xx, xy, yy, xz, yz] = [1e-3 * count, 0, 1e-3 * count, 0, 0]; // a little stiff
  for (const [px, py, pz] of points) {
    const [dx, dy, dz] = [px - mean[0], py - mean[1], pz - mean[2]];
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
    xz += dx * dz;
    yz += dy * dz;
  }
  const det = xx * yy - xy * xy;
  const clamp = (slope: number) => Math.max(-STEEPEST, Math.min(STEEPEST, slope));
  const slopeX = clamp((xz * yy - yz * xy) / det);
  const slopeY = clamp((yz * xx - xz * xy) / det);
  const height_m = mean[2] + slopeX * (x0 - mean[0]) + slopeY * (y0 - mean[1]);
  const plane = { x0, y0, height_m, slopeX, slopeY, residual_m: 0 };
  const squares = points.reduce(
    (sum, [px, py, pz]) => sum + (pz - groundAt(plane, px, py)) ** 2,
    0,
  );
  return { ...plane, residual_m: Math.sqrt(squares / count) };
}
