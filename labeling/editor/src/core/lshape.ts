/**
 * The rectangle around points of an object that is seen from one or two sides.
 *
 * Source: Zhang, Xu, Dong and Dolan, "Efficient L-shape fitting for vehicle detection using laser
 * scanners", IV 2017: search over the heading, closeness criterion.
 */

/** A rectangle by its heading in [0, pi / 2) and the range of the points along its two axes. */
export interface Rectangle {
  readonly theta_rad: number;
  /** Along (cos, sin) of theta. */
  readonly along: readonly [number, number];
  /** Along (-sin, cos) of theta. */
  readonly across: readonly [number, number];
  /** Mean closeness of the points to the nearest edge; larger is better. */
  readonly score: number;
}

const COARSE_STEPS = 45; // 2 degrees
const NEAREST_M = 0.05; // nearer to an edge makes no difference: noise of the sensor
/** Share of the points beyond the edges: mirrors, antennas, noise. */
const OUTSIDE = 0.01;

/**
 * Return the best rectangle of points seen from above.
 *
 * @param xy (2 N) points.
 */
export function fitRectangle(xy: Float64Array): Rectangle {
  const quarter = Math.PI / 2;
  let best = rectangleAt(xy, 0);
  for (let k = 1; k < COARSE_STEPS; k++) {
    const found = rectangleAt(xy, (k * quarter) / COARSE_STEPS);
    if (found.score > best.score) best = found;
  }
  for (let step = quarter / COARSE_STEPS / 2; step > 0.002; step /= 2)
    for (const theta of [best.theta_rad - step, best.theta_rad + step]) {
      const found = rectangleAt(xy, theta);
      if (found.score > best.score) best = found;
    }
  return normalised(best);
}

/** A heading this near to that of the lane is taken for it, if it fits the points as well. */
const IN_LANE_RAD = 15 * (Math.PI / 180);
/** Closeness that the rectangle along the lane must keep. */
const AS_WELL = 0.8;

/**
 * Return the rectangle along a lane where that fits nearly as well as the best one.
 *
 * Rounded corners and mirrors turn the best rectangle of a car by some degrees; where its sides are
 * seen well, a wrong heading costs much more closeness than that.
 */
export function alongLane(xy: Float64Array, best: Rectangle, yaw_rad: number): Rectangle {
  const quarter = Math.PI / 2;
  const off = (best.theta_rad - yaw_rad) / quarter;
  if (Math.abs(off - Math.round(off)) * quarter > IN_LANE_RAD) return best;
  const found = rectangleAt(xy, yaw_rad - Math.floor(yaw_rad / quarter) * quarter);
  return found.score >= AS_WELL * best.score ? found : best;
}

/** Return the rectangle of one heading with its closeness. */
export function rectangleAt(xy: Float64Array, theta: number): Rectangle {
  const count = xy.length / 2;
  const [c, s] = [Math.cos(theta), Math.sin(theta)];
  const u = new Float64Array(count);
  const v = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    u[i] = c * xy[2 * i] + s * xy[2 * i + 1];
    v[i] = c * xy[2 * i + 1] - s * xy[2 * i];
  }
  const along = rangeOf(u);
  const across = rangeOf(v);
  let score = 0;
  for (let i = 0; i < count; i++) {
    const du = Math.min(Math.abs(u[i] - along[0]), Math.abs(along[1] - u[i]));
    const dv = Math.min(Math.abs(v[i] - across[0]), Math.abs(across[1] - v[i]));
    score += 1 / Math.max(Math.min(du, dv), NEAREST_M);
  }
  return { theta_rad: theta, along, across, score: score / Math.max(count, 1) };
}

function rangeOf(values: Float64Array): [number, number] {
  const sorted = values.slice().sort();
  const skip = Math.floor(sorted.length * OUTSIDE);
  return [sorted[skip], sorted[sorted.length - 1 - skip]];
}

/** Return the same rectangle with theta in [0, pi / 2). */
function normalised(rectangle: Rectangle): Rectangle {
  const { theta_rad: theta, along, across, score } = rectangle;
  const quarter = Math.PI / 2;
  if (theta < 0) {
    // a quarter forward: the old along axis is minus the new across axis
    return { theta_rad: theta + quarter, along: across, across: [-along[1], -along[0]], score };
  }
  if (theta >= quarter)
    return { theta_rad: theta - quarter, along: [-across[1], -across[0]], across: along, score };
  return rectangle;
}
