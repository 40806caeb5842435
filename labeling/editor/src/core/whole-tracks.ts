/** Changes of whole tracks: names, merging, splitting, category, heading, standing still. */
import {
  boxAt,
  changedOrigin,
  EditError,
  newTrackId,
  sameBox,
  spanOf,
  trackOf,
  withoutTrack,
  withTrack,
} from "./document";
import { moved, toBox } from "./geometry";
import { fromMap, type Motion, toMap } from "./motion";
import { wrapAngle } from "./pose";
import { LONGEST_NAME } from "./protocol";
import { anchored, placeBox } from "./tracks";
import type { Box, Document, Track } from "./types";

export function deleteTrack(document: Document, trackId: string): Document {
  return withoutTrack(document, trackId);
}

/** Give a track another id. */
export function renameTrack(document: Document, trackId: string, newId: string): Document {
  if (newId === trackId) return document;
  if (!newId.trim()) throw new EditError("a track needs a name");
  if (newId.length > LONGEST_NAME)
    throw new EditError(`the name of a track has at most ${LONGEST_NAME} letters`);
  if (document.tracks.has(newId))
    throw new EditError(`there is a track ${newId} already; merge the two instead`);
  trackOf(document, trackId);
  const tracks = [...document.tracks.values()].map((track) =>
    track.track_id === trackId ? renamed(track, newId) : track,
  );
  return { ...document, tracks: new Map(tracks.map((track) => [track.track_id, track])) };
}

function renamed(track: Track, trackId: string): Track {
  const boxes = track.boxes.map((box) => box && { ...box, track_id: trackId });
  return { ...track, track_id: trackId, boxes };
}

/**
 * Add the boxes of another track to a track and delete the other.
 *
 * In frames where both have one, that of `trackId` stays. Its category and size are kept. Frames
 * that neither covers stay empty: `show` fills them.
 */
export function mergeTracks(document: Document, trackId: string, otherId: string): Document {
  if (trackId === otherId) throw new EditError("a track cannot be merged with itself");
  const track = trackOf(document, trackId);
  const all = renamed(trackOf(document, otherId), trackId);
  const lacking = all.boxes.map((box, frame) => (track.boxes[frame] ? null : box));
  const other = anchored({ ...all, boxes: lacking });
  const size = track.boxes.find((box) => box !== null)!.size_lwh_m;
  const boxes = anchored(track).boxes.map((box, frame) => {
    const added = other.boxes[frame];
    if (box || !added) return box;
    const merged = { ...added, category: track.category, size_lwh_m: size };
    return sameBox(merged, added) ? added : { ...merged, origin: changedOrigin(added.origin) };
  });
  return withTrack(withoutTrack(document, otherId), { ...track, boxes });
}

/** Cut a track: its boxes from `frame` on become a new track, whose id is returned too. */
export function splitTrack(
  document: Document,
  trackId: string,
  frame: number,
  newId = newTrackId(document),
): { document: Document; newId: string } {
  const track = trackOf(document, trackId);
  const { first, last } = spanOf(track);
  if (frame <= first || frame > last)
    throw new EditError(`track ${trackId} cannot be split at frame ${frame}: one part is empty`);
  const part = (keep: (f: number) => boolean) =>
    anchored({ ...track, boxes: track.boxes.map((box, f) => (keep(f) ? box : null)) });
  const head = part((f) => f < frame);
  const tail = renamed(
    part((f) => f >= frame),
    newId,
  );
  return { document: withTrack(withTrack(document, head), tail), newId };
}

/** Turn a track by half a turn: in all frames, or only in one (which becomes a key frame). */
export function flipHeading(
  document: Document,
  motion: Motion,
  trackId: string,
  frame?: number,
): Document {
  const flip = (box: Box): Box => ({ ...box, yaw_rad: wrapAngle(box.yaw_rad + Math.PI) });
  if (frame !== undefined) {
    const box = boxAt(document, trackId, frame);
    if (!box) throw new EditError(`track ${trackId} has no box in frame ${frame}`);
    return placeBox(document, motion, flip(box));
  }
  return changeAll(document, trackId, flip);
}

/** Give a whole track a category. */
export function setCategory(document: Document, trackId: string, category: string): Document {
  const track = trackOf(document, trackId);
  if (track.category === category) return document;
  const changed = changeAll(document, trackId, (box) => ({ ...box, category }));
  return withTrack(changed, { ...trackOf(changed, trackId), category });
}

/** Let a track stand still in the map frame where its box of one frame is. */
export function makeStatic(
  document: Document,
  motion: Motion,
  trackId: string,
  frame: number,
): Document {
  const box = boxAt(document, trackId, frame);
  if (!box) throw new EditError(`track ${trackId} has no box in frame ${frame}`);
  const pose = toMap(motion, box);
  return changeAll(document, trackId, (old) =>
    old.frame === frame ? old : { ...old, ...placedAt(fromMap(motion, pose, old.frame, box)) },
  );
}

/**
 * Move and turn the other untouched prelabels of a track as the one of `frame` was.
 *
 * A model errs alike from frame to frame; the move is taken along the box's own axes.
 *
 * @param prelabel what the box of `frame` was before.
 */
export function spreadCorrection(
  document: Document,
  trackId: string,
  frame: number,
  prelabel: Box,
): Document {
  const box = boxAt(document, trackId, frame);
  if (!box) throw new EditError(`track ${trackId} has no box in frame ${frame}`);
  const shift = toBox(prelabel, box.center_xyz_m);
  const turn = wrapAngle(box.yaw_rad - prelabel.yaw_rad);
  return changeAll(document, trackId, (old) => {
    if (old.frame === frame || old.origin !== "prediction") return old;
    return { ...old, center_xyz_m: moved(old, shift), yaw_rad: wrapAngle(old.yaw_rad + turn) };
  });
}

function placedAt({ center_xyz_m, yaw_rad, size_lwh_m }: Box): Partial<Box> {
  return { center_xyz_m, yaw_rad, size_lwh_m };
}

/** Return the document with every box of a track changed, and its origin where it really was. */
function changeAll(document: Document, trackId: string, change: (box: Box) => Box): Document {
  const track = trackOf(document, trackId);
  const boxes = track.boxes.map((box) => {
    if (!box) return box;
    const changed = change(box);
    return sameBox(changed, box) ? box : { ...changed, origin: changedOrigin(box.origin) };
  });
  return withTrack(document, { ...track, boxes });
}
