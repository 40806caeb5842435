/**
 * Boxes over time: key frames, what lies between them, gaps, and whole tracks.
 *
 * Every function returns a new document. Objects are rigid: a size is that of the whole track.
 */

import {
  changedOrigin,
  EditError,
  keyFramesOf,
  sameBox,
  spanOf,
  trackOf,
  withTrack,
} from "./document";
import { moved, toBox } from "./geometry";
import { between, fromMap, type Motion, toMap } from "./motion";
import { wrapAngle } from "./pose";
import { FARTHEST_M, LONGEST_M } from "./protocol";
import type { Box, BoxOrigin, Document, Track, Vec3 } from "./types";

/**
 * Place a box: it becomes a key frame of its track, which is made where there is none.
 *
 * Boxes that are no key frames follow. Beyond the first or last box of the track the frames in
 * between are filled; inside a gap only this frame is. A new size or category is given to the
 * whole track; a face that was moved is moved in all its boxes, so the others keep theirs.
 */
export function placeBox(document: Document, motion: Motion, box: Box): Document {
  if (!box.size_lwh_m.every((size) => size > 0 && size <= LONGEST_M))
    throw new EditError(`track ${box.track_id}: size ${box.size_lwh_m.join(" x ")} m is no size`);
  if (!box.center_xyz_m.every((value) => Math.abs(value) <= FARTHEST_M))
    throw new EditError(`track ${box.track_id}: ${box.center_xyz_m.join(", ")} m is no place`);
  const { score: _, ...rest } = box;
  const placed: Box = { ...rest, key_frame: true, yaw_rad: wrapAngle(box.yaw_rad) };
  const track = document.tracks.get(box.track_id);
  if (!track) {
    const boxes: (Box | null)[] = new Array(document.num_frames).fill(null);
    boxes[box.frame] = placed;
    return withTrack(document, { track_id: box.track_id, category: box.category, boxes });
  }
  const before = track.boxes[box.frame];
  const same = before !== null && sameBox(before, placed);
  const origin = same ? before.origin : changedOrigin(before?.origin);
  const boxes = track.boxes.with(box.frame, { ...placed, origin });
  let changed = withShape({ ...track, boxes }, before ?? nearestBox(track, box.frame), placed);
  const { first, last } = spanOf(track);
  if (box.frame < first) changed = filled(changed, motion, box.frame, first);
  else if (box.frame > last) changed = filled(changed, motion, last, box.frame);
  return withTrack(document, interpolated(changed, motion));
}

/** Return the track with every box that is no key frame computed from those around it. */
export function interpolated(track: Track, motion: Motion): Track {
  const keys = keyFramesOf(track);
  const boxes = [...track.boxes];
  let next = 0;
  for (let frame = 0; frame < boxes.length; frame++) {
    const box = boxes[frame];
    while (next < keys.length && keys[next] < frame) next++;
    if (!box || box.key_frame) continue;
    const before = next > 0 ? track.boxes[keys[next - 1]] : null;
    const after = next < keys.length ? track.boxes[keys[next]] : null;
    if (!before && !after) continue;
    boxes[frame] = follow(motion, before, after, frame, box);
  }
  return { ...track, boxes };
}

/** Return the box between two key frames, or where the only one leaves a standing object. */
function follow(
  motion: Motion,
  before: Box | null,
  after: Box | null,
  frame: number,
  old: Box,
): Box {
  const key = (before ?? after)!;
  const box =
    before && after
      ? between(motion, before, after, frame)
      : fromMap(motion, toMap(motion, key), frame, key);
  const origin = mixedOrigin(before, after);
  const { score: _, ...rest } = box;
  const moved = { ...rest, key_frame: false, attributes: old.attributes, origin };
  return sameBox(moved, old) && moved.origin === old.origin ? old : moved;
}

function mixedOrigin(before: Box | null, after: Box | null): BoxOrigin {
  const origin = (before ?? after)!.origin;
  return after && after.origin !== origin ? "prediction-changed" : origin;
}

/** Return the track with boxes that are no key frames in all empty frames between two frames. */
function filled(track: Track, motion: Motion, from: number, to: number): Track {
  const boxes = [...track.boxes];
  const model = boxes.find((box) => box !== null)!;
  for (let frame = from + 1; frame < to; frame++)
    boxes[frame] ??= { ...model, frame, key_frame: false };
  return interpolated({ ...track, boxes }, motion);
}

/** Return the track with category and size of `placed`, faces that did not move kept in place. */
function withShape(track: Track, before: Box | null, placed: Box): Track {
  const { category, size_lwh_m } = placed;
  if (!before) return { ...track, category };
  const grown = size_lwh_m.map((size, i) => size - before.size_lwh_m[i]);
  const resized = grown.some((growth) => growth !== 0);
  if (!resized && category === track.category) return track;
  const shift = before.frame === placed.frame ? anchoredShift(before, placed) : [0, 0, 0];
  const boxes = track.boxes.map((box) => {
    if (!box || box.frame === placed.frame) return box;
    const center = resized ? moved(box, shift as Vec3) : box.center_xyz_m;
    const origin = changedOrigin(box.origin);
    return { ...box, category, size_lwh_m, center_xyz_m: center, origin };
  });
  return { ...track, category, boxes };
}

/**
 * Return how a resize moved the centre along the box's own axes; no more than half of what the
 * side grew, so that a move done together with it stays in its own frame.
 */
function anchoredShift(before: Box, placed: Box): Vec3 {
  const along = toBox({ ...placed, center_xyz_m: before.center_xyz_m }, placed.center_xyz_m);
  return along.map((shift, i) => {
    const most = Math.abs(placed.size_lwh_m[i] - before.size_lwh_m[i]) / 2;
    return Math.max(-most, Math.min(most, shift));
  }) as unknown as Vec3;
}

function nearestBox(track: Track, frame: number): Box | null {
  for (let away = 1; away < track.boxes.length; away++) {
    const box = track.boxes[frame - away] ?? track.boxes[frame + away];
    if (box) return box;
  }
  return null;
}

/** Make a box a key frame where it is, or let it follow the key frames around it. */
export function setKeyFrame(
  document: Document,
  motion: Motion,
  trackId: string,
  frame: number,
  on: boolean,
): Document {
  const track = trackOf(document, trackId);
  const box = track.boxes[frame];
  if (!box) throw new EditError(`track ${trackId} has no box in frame ${frame}`);
  if (box.key_frame === on) return document;
  if (!on && keyFramesOf(track).length < 2)
    throw new EditError(
      `the only key frame of track ${trackId} cannot be removed; delete the track`,
    );
  const boxes = track.boxes.with(frame, { ...box, key_frame: on });
  return withTrack(document, interpolated({ ...track, boxes }, motion));
}

/**
 * Remove the boxes of the frames `from` to `to`, both included: the object is hidden there.
 *
 * The boxes at the edges of the gap become key frames, so that what is left does not move.
 */
export function hide(
  document: Document,
  motion: Motion,
  trackId: string,
  from: number,
  to: number,
): Document {
  const track = trackOf(document, trackId);
  const boxes = track.boxes.map((box, frame) => (frame >= from && frame <= to ? null : box));
  return withTrack(document, interpolated(anchored({ ...track, boxes }), motion));
}

/** Fill the gaps of a track in the frames `from` to `to` from the key frames around them. */
export function show(
  document: Document,
  motion: Motion,
  trackId: string,
  from: number,
  to: number,
): Document {
  const track = trackOf(document, trackId);
  const { first, last } = spanOf(track);
  return withTrack(
    document,
    filled(track, motion, Math.max(first, from - 1), Math.min(last, to + 1)),
  );
}

/**
 * Return the track with its first and last box, and those beside a gap, as key frames: what is left
 * must not move.
 */
export function anchored(track: Track): Track {
  const boxes = track.boxes.map((box, frame) => {
    const inside = track.boxes[frame - 1] && track.boxes[frame + 1];
    return box && !inside ? { ...box, key_frame: true } : box;
  });
  return { ...track, boxes };
}
