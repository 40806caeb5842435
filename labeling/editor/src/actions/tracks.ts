/** What a person does to whole tracks and to prelabels. */

import { boxAt, keyFramesOf, spanOf, trackOf, withTrack } from "../core/document";
import { anchored, setKeyFrame, show } from "../core/tracks";
import type { Box, Document, Track } from "../core/types";
import {
  makeStatic,
  mergeTracks,
  renameTrack,
  splitTrack,
  spreadCorrection,
} from "../core/whole-tracks";
import type { Editor } from "../editor";

/** Attribute of prelabels that a person has agreed to as they are. */
export const ACCEPTED = "accepted";

/** Whether a box is what the model said and nobody has agreed to it yet. */
export const isProposal = (box: Box): boolean =>
  box.origin === "prediction" && box.attributes[ACCEPTED] !== true;

/** Tracks never change, so each is looked through once, and not at every step of a drag. */
const open = new WeakMap<Track, readonly Box[]>();

function proposalsOf(track: Track): readonly Box[] {
  let found = open.get(track);
  if (!found) {
    found = track.boxes.filter((box): box is Box => box !== null && isProposal(box));
    open.set(track, found);
  }
  return found;
}

/** Return the boxes that nobody has agreed to, all frames. */
export function proposals(document: Document): Box[] {
  return [...document.tracks.values()].flatMap(proposalsOf);
}

/** Return the document with the prelabels of some tracks agreed to. */
function accepted(document: Document, tracks: Iterable<string>): Document {
  let changed = document;
  for (const trackId of tracks) {
    const track = trackOf(changed, trackId);
    if (!proposalsOf(track).length) continue;
    const boxes = track.boxes.map((box) =>
      box !== null && isProposal(box)
        ? { ...box, attributes: { ...box.attributes, [ACCEPTED]: true } }
        : box,
    );
    changed = withTrack(changed, { ...track, boxes });
  }
  return changed;
}

/** Agree to the prelabels of the selected track, then go to the next that needs a decision. */
export function accept(editor: Editor): void {
  const { selected } = editor.model;
  if (selected !== null) editor.edit("accept", (document) => accepted(document, [selected]));
  const next = editor.shown.find((box) => isProposal(box) && box.track_id !== selected);
  if (next !== undefined) editor.model.select(next.track_id);
  else editor.say("every prelabel of this frame has been decided on");
}

/** Agree to all prelabels, in all frames; those hidden by a filter only if `everything`. */
export function acceptAll(editor: Editor, everything = false): void {
  const hidden = everything ? new Set<string>() : editor.look.hidden;
  const before = proposals(editor.model.document).length;
  editor.edit("accept all", (document) => {
    const tracks = [...document.tracks.values()].filter((track) => !hidden.has(track.category));
    return accepted(
      document,
      tracks.map((track) => track.track_id),
    );
  });
  const left = proposals(editor.model.document).length;
  editor.say(
    `${before - left} prelabelled boxes accepted${left > 0 ? `, ${left} hidden ones left` : ""}`,
  );
}

/** Remove every prelabel that nobody agreed to. */
export function discardProposals(editor: Editor): void {
  editor.edit("discard prelabels", (document) =>
    [...document.tracks.values()].reduce((changed, track) => {
      if (!proposalsOf(track).length) return changed;
      const boxes = track.boxes.map((box) => (box !== null && isProposal(box) ? null : box));
      return withTrack(changed, anchored({ ...track, boxes }));
    }, document),
  );
}

/** Make the selected box a key frame, or let it follow its neighbours. */
export function toggleKeyFrame(editor: Editor): void {
  const { selectedBox, motion } = editor.model;
  if (selectedBox === null) return;
  const { track_id, frame, key_frame } = selectedBox;
  editor.edit(key_frame ? "no key frame" : "key frame", (document) =>
    setKeyFrame(document, motion, track_id, frame, !key_frame),
  );
}

/** Keep only the first, this and the last box of the track as key frames: the rest follows. */
export function interpolate(editor: Editor): void {
  const { selected, motion, frame } = editor.model;
  if (selected === null) return;
  editor.edit("interpolate", (document) => {
    const track = trackOf(document, selected);
    const { first, last } = spanOf(track);
    let changed = show(document, motion, selected, first, last);
    for (const f of [first, frame, last]) {
      if (boxAt(changed, selected, f)) changed = setKeyFrame(changed, motion, selected, f, true);
    }
    for (const f of keyFramesOf(trackOf(changed, selected))) {
      if (f === first || f === last || f === frame) continue;
      changed = setKeyFrame(changed, motion, selected, f, false);
    }
    return changed;
  });
}

/** Show the next or previous key frame of the selected track. */
export function toKeyFrame(editor: Editor, step: 1 | -1): void {
  const { selected, document, frame } = editor.model;
  if (selected === null) return;
  const keys = keyFramesOf(trackOf(document, selected));
  const next = step > 0 ? keys.find((f) => f > frame) : keys.findLast((f) => f < frame);
  if (next !== undefined) editor.model.showFrame(next);
}

/** Let the selected track stand where it stands in this frame. */
export function standStill(editor: Editor): void {
  const { selected, motion, frame } = editor.model;
  if (selected === null) return;
  editor.edit("stand still", (document) => makeStatic(document, motion, selected, frame));
}

/** Move the other untouched prelabels of the selected track as the one of this frame was. */
export function spread(editor: Editor): void {
  const { selected, frame } = editor.model;
  if (selected === null) return;
  const prelabel = editor.model.prelabel(selected, frame);
  if (prelabel === null) {
    editor.say(`track ${selected} has no prelabel in this frame`, "error");
    return;
  }
  editor.edit("same correction", (document) =>
    spreadCorrection(document, selected, frame, prelabel),
  );
}

/** Give the selected track another name. */
export function rename(editor: Editor, name: string): boolean {
  const { selected } = editor.model;
  if (selected === null || name === selected) return true;
  return editor.edit("rename", (document) => renameTrack(document, selected, name.trim()), {
    select: name.trim(),
  });
}

/** Add the boxes of another track to the selected one. */
export function merge(editor: Editor, otherId: string): boolean {
  const { selected } = editor.model;
  if (selected === null) return false;
  return editor.edit("merge", (document) => mergeTracks(document, selected, otherId));
}

/** Cut the selected track before this frame; what follows is a new track. */
export function split(editor: Editor): void {
  const { selected, frame } = editor.model;
  if (selected === null) return;
  const newId = editor.model.newTrackId();
  editor.edit("split", (document) => splitTrack(document, selected, frame, newId).document);
}
