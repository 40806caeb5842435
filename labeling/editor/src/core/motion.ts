/** How boxes move with the ego vehicle and on their own: everything is reckoned in the map frame. */
import { compose, inverse, transformPoint, transformYaw, wrapAngle } from "./pose";
import type { Box, Clip, SE3, Track, Vec3 } from "./types";

/** Poses and times of the frames of a clip. */
export interface Motion {
  readonly map_SE3_ego: readonly SE3[];
  readonly ego_SE3_map: readonly SE3[];
  /** Seconds since the first frame. */
  readonly time_s: readonly number[];
}

/** Position and heading in the map frame. */
export interface MapPose {
  readonly center_xyz_m: Vec3;
  readonly yaw_rad: number;
}

export function motionOf(clip: Pick<Clip, "frames">): Motion {
  const poses = clip.frames.map((frame) => frame.map_SE3_ego);
  const start = clip.frames[0]?.timestamp_ns ?? 0;
  return {
    map_SE3_ego: poses,
    ego_SE3_map: poses.map(inverse),
    time_s: clip.frames.map((frame) => (frame.timestamp_ns - start) / 1e9),
  };
}

/** Return `to_SE3_from` between the ego frames of two frames of the clip. */
export function betweenFrames(motion: Motion, from: number, to: number): SE3 {
  return compose(motion.ego_SE3_map[to], motion.map_SE3_ego[from]);
}

export function toMap(motion: Motion, box: Box): MapPose {
  const map_SE3_ego = motion.map_SE3_ego[box.frame];
  return {
    center_xyz_m: transformPoint(map_SE3_ego, box.center_xyz_m),
    yaw_rad: transformYaw(map_SE3_ego, box.yaw_rad),
  };
}

/** Return the box in another frame at a pose of the map frame. */
export function fromMap(motion: Motion, pose: MapPose, frame: number, box: Box): Box {
  const ego_SE3_map = motion.ego_SE3_map[frame];
  return {
    ...box,
    frame,
    center_xyz_m: transformPoint(ego_SE3_map, pose.center_xyz_m),
    yaw_rad: wrapAngle(transformYaw(ego_SE3_map, pose.yaw_rad)),
  };
}

/** Return the pose between two (or beyond them, outside 0 to 1), turning the shorter way. */
export function mix(a: MapPose, b: MapPose, ratio: number): MapPose {
  const [p, q] = [a.center_xyz_m, b.center_xyz_m];
  return {
    center_xyz_m: [
      p[0] + ratio * (q[0] - p[0]),
      p[1] + ratio * (q[1] - p[1]),
      p[2] + ratio * (q[2] - p[2]),
    ],
    yaw_rad: wrapAngle(a.yaw_rad + ratio * wrapAngle(b.yaw_rad - a.yaw_rad)),
  };
}

/** Return the box of frame `frame` that lies between two key frames, linear in time. */
export function between(motion: Motion, before: Box, after: Box, frame: number): Box {
  const [t0, t1] = [motion.time_s[before.frame], motion.time_s[after.frame]];
  const ratio = t1 > t0 ? (motion.time_s[frame] - t0) / (t1 - t0) : 0;
  const pose = mix(toMap(motion, before), toMap(motion, after), ratio);
  return { ...fromMap(motion, pose, frame, before), key_frame: false };
}

/** Slower than this, what looks like motion is noise of the labels. */
const STILL_MPS = 0.5;
/** Key frames this near in time tell the velocity. */
const LOOK_BACK_S = 1.0;

/**
 * Return where the object of a box is in another frame: constant velocity in the map frame.
 *
 * The velocity is that between the box and the farthest one of its track at most a second away,
 * on the other side of the target. An object that hardly moves is taken to stand still.
 */
export function predict(motion: Motion, track: Track, box: Box, frame: number): Box {
  const here = toMap(motion, box);
  const backwards = frame < box.frame;
  const step = backwards ? 1 : -1;
  let other: Box | null = null;
  for (let f = box.frame + step; f >= 0 && f < track.boxes.length; f += step) {
    if (Math.abs(motion.time_s[f] - motion.time_s[box.frame]) > LOOK_BACK_S && other) break;
    other = track.boxes[f] ?? other;
  }
  if (!other) return fromMap(motion, here, frame, box);
  const there = toMap(motion, other);
  const elapsed = motion.time_s[box.frame] - motion.time_s[other.frame];
  const [dx, dy] = [0, 1].map((i) => here.center_xyz_m[i] - there.center_xyz_m[i]);
  if (elapsed === 0 || Math.hypot(dx, dy) < STILL_MPS * Math.abs(elapsed))
    return fromMap(motion, here, frame, box);
  const ratio = 1 + (motion.time_s[frame] - motion.time_s[box.frame]) / elapsed;
  return fromMap(motion, mix(there, here, ratio), frame, box);
}
