/** A click on an object becomes a box around it: ground, cluster, rectangle, class, whole size. */
import { grow } from "./cluster";
import { complete, type Guess, guess, MISFIT, type Visible } from "./complete";
import { pointsInBox, type Shape } from "./geometry";
import { findGround, type GroundPlane, groundAt } from "./ground";
import { frontByHeight } from "./heading";
import { alongLane, fitRectangle, rectangleAt } from "./lshape";
import { indexOf, type SweepIndex } from "./sweep-index";
import type { Category, Points, Vec3 } from "./types";

export interface FitOptions {
  readonly categories: readonly Category[];
  /** The class to fit; without, the one whose usual size fits. */
  readonly category?: string | null;
  /**
   * Where the points do not tell front and rear, the heading is the direction nearer to this, and
   * exactly this where that fits them nearly as well as any; 0 without. See `headingHint`.
   */
  readonly yawHint?: number;
  /** Where the points are seen from, ego frame; the origin without. */
  readonly sensor_xy_m?: readonly [number, number];
}

export interface Fit {
  readonly shape: Shape;
  readonly category: string;
  /** Points of the object that the box was fitted to. */
  readonly num_points: number;
  /** Whether the points fit the class; if not, look twice. */
  readonly sure: boolean;
}

const MOST_POINTS = 400; // of the cluster; more do not change the rectangle
const LEAST_POINTS = 4;
const CEILING_M = 4.5;
const LOW_OBJECT_M = 1.2; // lower ones keep more of what is near the ground
const GOOD = 0.5; // a cluster that fits so well is not tried in smaller pieces
const PIECE = 0.25; // what a try with smaller pieces must gain
const SHRINK = 0.6;
const TRIES = 4;

/**
 * Return the box of the object at a point of it, or null where there is nothing.
 *
 * @param click a point on the object, usually the lidar point under the pointer.
 */
export function fitBox(
  points: Pick<Points, "xyz_m">,
  click: Vec3,
  options: FitOptions,
): Fit | null {
  const index = indexOf(points);
  const [x, y] = click;
  const ground = findGround(index, x, y) ?? levelGround(x, y);
  const wanted = options.categories.filter(({ name }) => name === options.category);
  const categories = wanted.length ? wanted : options.categories;
  const sensor_xy_m = options.sensor_xy_m ?? [0, 0];
  const range = Math.hypot(x - sensor_xy_m[0], y - sensor_xy_m[1]);
  const largest = Math.max(...categories.map(({ default_size_lwh_m: [l] }) => l));
  const lowest = Math.min(...categories.map(({ default_size_lwh_m: s }) => s[2]));
  let linkM = (largest > 3 ? 0.45 : 0.25) + 0.006 * range;
  let best: { visible: Visible; way: Guess; count: number } | null = null;
  for (let attempt = 0; attempt < TRIES; attempt++, linkM *= SHRINK) {
    const members = grow(index, ground, x, y, {
      linkM,
      reachM: Math.min(1.2 * largest, 9) + 0.5,
      clearanceM: lowest < LOW_OBJECT_M && wanted.length ? 0.12 : 0.25,
      ceilingM: CEILING_M,
    });
    if (!members.length) break;
    const visible = look(index, ground, members, sensor_xy_m, options.yawHint ?? 0);
    const found = guess(visible, categories);
    const way = { ...found, cost: found.cost + attempt * PIECE };
    if (!best || way.cost < best.way.cost) best = { visible, way, count: members.length };
    if (way.cost < GOOD) break;
  }
  if (!best) return null;
  const { visible, way, count } = best;
  const { center_xy_m, size_lwh_m, yaw_rad } = complete(visible, way, options.yawHint ?? 0);
  const bottom = groundAt(ground, ...center_xy_m);
  const center_xyz_m: Vec3 = [...center_xy_m, bottom + size_lwh_m[2] / 2];
  const shape = frontByHeight(index, { center_xyz_m, size_lwh_m, yaw_rad });
  return { shape, category: way.category.name, num_points: count, sure: way.cost < MISFIT };
}

/** Return the rectangle and the height of the points of an object. */
function look(
  index: SweepIndex,
  ground: GroundPlane,
  members: readonly number[],
  sensor_xy_m: readonly [number, number],
  yawHint: number,
): Visible {
  const { xyz_m } = index;
  const step = Math.max(1, members.length / MOST_POINTS);
  const count = Math.floor(members.length / step);
  const xy = new Float64Array(2 * count);
  for (let k = 0; k < count; k++) {
    const i = members[Math.floor(k * step)];
    xy[2 * k] = xyz_m[3 * i];
    xy[2 * k + 1] = xyz_m[3 * i + 1];
  }
  const few = count < LEAST_POINTS;
  const rectangle = few ? rectangleAt(xy, yawHint) : alongLane(xy, fitRectangle(xy), yawHint);
  return { rectangle, height_m: topOf(index, ground, members), sensor_xy_m };
}

/** Return the height above the ground that few points exceed. */
function topOf({ xyz_m }: SweepIndex, ground: GroundPlane, members: readonly number[]): number {
  const heights = Float64Array.from(
    members,
    (i) => xyz_m[3 * i + 2] - groundAt(ground, xyz_m[3 * i], xyz_m[3 * i + 1]),
  ).sort();
  return heights[Math.floor((heights.length - 1) * 0.99)];
}

/** The ego origin is on the ground: where none is seen, it is level with it. */
function levelGround(x0: number, y0: number): GroundPlane {
  return { x0, y0, height_m: 0, slopeX: 0, slopeY: 0, residual_m: 0 };
}

/** Return the shape standing on the ground under its centre; unchanged where none is seen. */
export function snapToGround(points: Pick<Points, "xyz_m">, shape: Shape): Shape {
  const [x, y] = shape.center_xyz_m;
  const ground = findGround(indexOf(points), x, y);
  if (!ground) return shape;
  return { ...shape, center_xyz_m: [x, y, groundAt(ground, x, y) + shape.size_lwh_m[2] / 2] };
}

/** Points this near to a side from outside still tell the height. */
const SIDE_MARGIN_M = 0.1;
const GROUND_MARGIN_M = 0.2;
const LEAST_HEIGHT_M = 0.3;
/** The roof is a little above its points. */
const ROOF_M = 0.04;

/** Return the shape from the ground to its highest point; unchanged where too few are inside. */
export function autoHeight(points: Pick<Points, "xyz_m">, shape: Shape): Shape {
  const index = indexOf(points);
  const [x, y, z] = shape.center_xyz_m;
  const ground = findGround(index, x, y) ?? {
    ...levelGround(x, y),
    height_m: z - shape.size_lwh_m[2] / 2,
  };
  const [l, w] = shape.size_lwh_m;
  const bottom = groundAt(ground, x, y);
  const tall: Shape = {
    ...shape,
    center_xyz_m: [x, y, bottom + GROUND_MARGIN_M + CEILING_M / 2],
    size_lwh_m: [l + 2 * SIDE_MARGIN_M, w + 2 * SIDE_MARGIN_M, CEILING_M],
  };
  const around = index.near(x, y, Math.hypot(l, w) / 2 + SIDE_MARGIN_M);
  const near = new Float32Array(3 * around.length);
  around.forEach((i, k) => {
    near.set(points.xyz_m.subarray(3 * i, 3 * i + 3), 3 * k);
  });
  const inside = pointsInBox(near, tall);
  if (inside.length < LEAST_POINTS) return snapToGround(points, shape);
  const members = inside.map((k) => around[k]);
  const height = Math.max(LEAST_HEIGHT_M, topOf(index, ground, members) + ROOF_M);
  return { ...shape, center_xyz_m: [x, y, bottom + height / 2], size_lwh_m: [l, w, height] };
}
