/** Documents and tracks as values: what is asked of them, and changes that return a new one. */
import { wrapAngle } from "./pose";
import type { Box, BoxOrigin, Document, Track } from "./types";

/** What a person asked for cannot be done; the message says why and what to do. */
export class EditError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "EditError";
  }
}

export function emptyDocument(numFrames: number): Document {
  return { num_frames: numFrames, tracks: new Map() };
}

/**
 * Return the document of boxes in any order.
 *
 * @throws EditError if a box lies outside the clip or a track has two boxes in one frame.
 */
export function documentOf(boxes: readonly Box[], numFrames: number): Document {
  const rows = new Map<string, (Box | null)[]>();
  for (const box of boxes) {
    if (!(Number.isInteger(box.frame) && box.frame >= 0 && box.frame < numFrames))
      throw new EditError(`box of track ${box.track_id}: frame ${box.frame} of ${numFrames}`);
    let row = rows.get(box.track_id);
    if (!row) {
      row = new Array(numFrames).fill(null);
      rows.set(box.track_id, row);
    }
    if (row[box.frame])
      throw new EditError(`track ${box.track_id} has two boxes in frame ${box.frame}`);
    row[box.frame] = { ...box, yaw_rad: wrapAngle(box.yaw_rad) };
  }
  const tracks = new Map<string, Track>();
  for (const [trackId, row] of rows) {
    const category = row.find((box) => box !== null)!.category;
    tracks.set(trackId, { track_id: trackId, category, boxes: row });
  }
  return { num_frames: numFrames, tracks };
}

/** Return all boxes, track by track, each in the order of its frames. */
export function allBoxes(document: Document): Box[] {
  const boxes: Box[] = [];
  for (const track of document.tracks.values())
    for (const box of track.boxes) if (box) boxes.push(box);
  return boxes;
}

const byFrame = new WeakMap<Document, (readonly Box[] | undefined)[]>();

/** Return the boxes of one frame; the same array for the same document. */
export function boxesAt(document: Document, frame: number): readonly Box[] {
  let frames = byFrame.get(document);
  if (!frames) {
    frames = [];
    byFrame.set(document, frames);
  }
  let boxes = frames[frame];
  if (!boxes) {
    const found: Box[] = [];
    for (const track of document.tracks.values()) {
      const box = track.boxes[frame];
      if (box) found.push(box);
    }
    boxes = found;
    frames[frame] = boxes;
  }
  return boxes;
}

/** Return the box of a track in a frame, or null. */
export function boxAt(document: Document, trackId: string, frame: number): Box | null {
  return document.tracks.get(trackId)?.boxes[frame] ?? null;
}

/**
 * Return the track.
 *
 * @throws EditError if there is none of that id.
 */
export function trackOf(document: Document, trackId: string): Track {
  const track = document.tracks.get(trackId);
  if (!track) throw new EditError(`there is no track ${trackId}`);
  return track;
}

/** Return the document with the track added or in the place of that of the same id. */
export function withTrack(document: Document, track: Track): Document {
  const tracks = new Map(document.tracks);
  if (track.boxes.some((box) => box !== null)) tracks.set(track.track_id, track);
  else tracks.delete(track.track_id); // a track lives as long as it has a box
  return { ...document, tracks };
}

export function withoutTrack(document: Document, trackId: string): Document {
  trackOf(document, trackId);
  const tracks = new Map(document.tracks);
  tracks.delete(trackId);
  return { ...document, tracks };
}

/**
 * Return an id that no track has: the number after the largest.
 *
 * @param taken ids that are not given anew either, although their tracks may be deleted.
 */
export function newTrackId(document: Document, taken: Iterable<string> = []): string {
  let largest = 0;
  for (const trackId of [...document.tracks.keys(), ...taken])
    if (/^\d{1,9}$/.test(trackId)) largest = Math.max(largest, Number(trackId));
  return String(largest + 1);
}

/** Return first and last frame with a box. */
export function spanOf(track: Track): { first: number; last: number } {
  const seen = (box: Box | null) => box !== null;
  return { first: track.boxes.findIndex(seen), last: track.boxes.findLastIndex(seen) };
}

/** Return the frames whose box is a key frame. */
export function keyFramesOf(track: Track): number[] {
  return track.boxes.flatMap((box, frame) => (box?.key_frame ? [frame] : []));
}

/** Return the frames between first and last box in which the object is hidden. */
export function gapsOf(track: Track): number[] {
  const { first, last } = spanOf(track);
  return track.boxes.flatMap((box, frame) =>
    !box && frame > first && frame < last ? [frame] : [],
  );
}

/** Where a box comes from after a person changed it. */
export function changedOrigin(before: BoxOrigin | undefined): BoxOrigin {
  return before === undefined || before === "manual" ? "manual" : "prediction-changed";
}

/** Return whether two boxes are in the same place with the same category, size and heading. */
export function sameBox(a: Box, b: Box): boolean {
  return (
    a.category === b.category &&
    a.yaw_rad === b.yaw_rad &&
    a.center_xyz_m.every((value, i) => value === b.center_xyz_m[i]) &&
    a.size_lwh_m.every((value, i) => value === b.size_lwh_m[i])
  );
}
