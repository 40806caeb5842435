/** The box of a track goes on to the next frame: where motion puts it, then onto the points. */
import { boxAt, EditError, trackOf } from "./document";
import { moved, type Shape } from "./geometry";
import { likeness, looksOf } from "./likeness";
import { type Motion, predict } from "./motion";
import { compose, fromYaw, inverse, wrapAngle } from "./pose";
import { refit } from "./refit";
import type { Box, Document, Points, SE3 } from "./types";

type Cloud = Pick<Points, "xyz_m">;

/** Points of the two frames; without those of `to`, or with too few near, motion alone tells. */
export interface PropagatePoints {
  readonly from: Cloud | null;
  readonly to: Cloud | null;
}

const LEAST_POINTS = 15;

/**
 * Return the box of a track for another frame, to be placed with `placeBox`.
 *
 * How the box lies on its points in the frame `from` is kept: a person who draws a little wider
 * than the points, or knows better than they do, is followed.
 *
 * @throws EditError if the track has no box in the frame `from`.
 */
export function propagate(
  document: Document,
  motion: Motion,
  trackId: string,
  from: number,
  to: number,
  points: PropagatePoints,
): Box {
  const box = boxAt(document, trackId, from);
  if (!box) throw new EditError(`track ${trackId} has no box in frame ${from}`);
  if (to < 0 || to >= document.num_frames) throw new EditError(`there is no frame ${to}`);
  const track = trackOf(document, trackId);
  const guess = predict(motion, track, box, to);
  if (!points.to) return guess;
  const alone = track.boxes.filter((other) => other !== null).length === 1;
  if (alone && points.from) {
    const elapsed = Math.abs(motion.time_s[to] - motion.time_s[from]);
    return mostAlike(alongHeading(guess, elapsed), box, points.from, points.to);
  }
  const found = onPoints(guess, box, points.from, points.to);
  return hardlyDiffer(guess, found) && !alone ? guess : found;
}

/** Return the guess moved onto the points of its frame, lying on them as `box` lies on its own. */
function onPoints(guess: Box, box: Box, from: Cloud | null, to: Cloud): Box {
  const after = refit(to, guess);
  if (after.num_points < LEAST_POINTS) return guess;
  const before = from && refit(from, box);
  if (!before || before.num_points < LEAST_POINTS) return { ...guess, ...after.shape };
  return { ...guess, ...carried(box, before.shape, after.shape) };
}

const FAR = 0.03; // likeness that a guess a meter farther away must gain

/** Return where it looks most like the box in its own frame; of equals the nearest. */
function mostAlike(guesses: readonly Box[], box: Box, from: Cloud, to: Cloud): Box {
  const looks = looksOf(from, box);
  const middle = guesses[(guesses.length - 1) / 2];
  let [best, most] = [middle, likeness(looks, looksOf(to, middle))];
  for (const guess of guesses) {
    const found = onPoints(guess, box, from, to);
    const [dx, dy] = [0, 1].map((i) => found.center_xyz_m[i] - middle.center_xyz_m[i]);
    const alike = likeness(looks, looksOf(to, found)) - FAR * Math.hypot(dx, dy);
    if (alike > most) [best, most] = [found, alike];
  }
  return best;
}

const FASTEST_MPS = 25;
const FARTHEST_M = 5;
const STRIDE_M = 0.7; // a refit finds what is this far away

/** Return where an object of unknown speed may have gone. */
function alongHeading(guess: Box, elapsedS: number): Box[] {
  const most = Math.floor(Math.min(FASTEST_MPS * elapsedS, FARTHEST_M) / STRIDE_M);
  const strides = Array.from({ length: 2 * most + 1 }, (_, k) => (k - most) * STRIDE_M);
  return strides.map((along) => ({ ...guess, center_xyz_m: moved(guess, [along, 0, 0]) }));
}

const NOISE_M = 0.1;
const NOISE_RAD = 0.03;

/** Return whether the points only say what motion said, to their own noise. */
function hardlyDiffer(a: Shape, b: Shape): boolean {
  const apart = a.center_xyz_m.map((value, i) => value - b.center_xyz_m[i]);
  return Math.hypot(...apart) < NOISE_M && Math.abs(wrapAngle(a.yaw_rad - b.yaw_rad)) < NOISE_RAD;
}

/** Return the shape that lies to `after` as `box` lies to `before`. */
function carried(box: Shape, before: Shape, after: Shape): Partial<Box> {
  const pose = compose(poseOf(after), compose(inverse(poseOf(before)), poseOf(box)));
  return {
    center_xyz_m: [pose[3], pose[7], pose[11]],
    yaw_rad: wrapAngle(Math.atan2(pose[4], pose[0])),
  };
}

function poseOf(shape: Shape): SE3 {
  return fromYaw(shape.yaw_rad, shape.center_xyz_m);
}
