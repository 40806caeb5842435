/** What a person does to the selected box. */

import type { Shape } from "../core/geometry";
import { hide, placeBox } from "../core/tracks";
import type { Box, Vec3 } from "../core/types";
import { deleteTrack, flipHeading } from "../core/whole-tracks";
import type { Editor } from "../editor";
import { MIN_SIZE_M, resized, shifted } from "../views/handles";

/** Steps of the keyboard: meters and radians. */
export const STEPS = {
  normal: { move: 0.1, turn: Math.PI / 180 },
  fine: { move: 0.02, turn: Math.PI / 900 },
  coarse: { move: 0.5, turn: Math.PI / 36 },
} as const;
export type Step = keyof typeof STEPS;

/** Put the selected box somewhere; `key` joins changes that follow quickly into one undo step. */
export function reshape(
  editor: Editor,
  label: string,
  box: Box,
  change: Partial<Shape>,
  more: { key?: string; held?: boolean } = {},
): void {
  const { motion } = editor.model;
  editor.edit(label, (document) => placeBox(document, motion, { ...box, ...change }), more);
}

const keyOf = (what: string, box: Box) => ({ key: `${what} ${box.track_id} ${box.frame}` });

/** Shift the selected box along one of its own axes (0 forward, 1 left, 2 up). */
export function nudge(editor: Editor, axis: 0 | 1 | 2, sign: number, step: Step): void {
  const box = editor.model.selectedBox;
  if (box === null) return;
  const shape = shifted(box, [[axis, sign * STEPS[step].move]]);
  reshape(editor, "move", box, { center_xyz_m: shape.center_xyz_m }, keyOf("move", box));
}

/** Turn the selected box; positive is counter-clockwise. */
export function turn(editor: Editor, sign: number, step: Step): void {
  const box = editor.model.selectedBox;
  if (box === null) return;
  const yaw_rad = box.yaw_rad + sign * STEPS[step].turn;
  reshape(editor, "turn", box, { yaw_rad }, keyOf("turn", box));
}

/** Make the selected box longer, wider or higher about its centre; the bottom stays. */
export function grow(editor: Editor, axis: 0 | 1 | 2, sign: number, step: Step): void {
  const box = editor.model.selectedBox;
  if (box === null) return;
  const by = sign * STEPS[step].move;
  const { center_xyz_m, size_lwh_m } = resized(box, axis, 1, axis === 2 ? by : by / 2, axis !== 2);
  reshape(editor, "resize", box, { center_xyz_m, size_lwh_m }, keyOf("resize", box));
}

/** Set one number of the selected box as typed. */
export function setNumber(
  editor: Editor,
  field: "center_xyz_m" | "size_lwh_m" | "yaw_rad",
  axis: number,
  value: number,
): void {
  const box = editor.model.selectedBox;
  if (box === null || !Number.isFinite(value)) return;
  if (field === "yaw_rad") {
    reshape(editor, "turn", box, { yaw_rad: value });
    return;
  }
  const least = field === "size_lwh_m" ? MIN_SIZE_M : Number.NEGATIVE_INFINITY;
  const numbers = box[field].with(axis, Math.max(least, value)) as unknown as Vec3;
  if (field === "center_xyz_m") {
    reshape(editor, "move", box, { center_xyz_m: numbers });
    return;
  }
  const bottom = box.center_xyz_m[2] - box.size_lwh_m[2] / 2;
  const center = box.center_xyz_m.with(2, bottom + numbers[2] / 2) as unknown as Vec3;
  reshape(editor, "resize", box, { size_lwh_m: numbers, center_xyz_m: center });
}

/** Give the selected box the usual size of its category; bottom and centre stay. */
export function useDefaultSize(editor: Editor): void {
  const box = editor.model.selectedBox;
  if (box === null) return;
  const size = editor.model.category(box.category)?.default_size_lwh_m;
  if (size === undefined) return;
  const bottom = box.center_xyz_m[2] - box.size_lwh_m[2] / 2;
  const center = box.center_xyz_m.with(2, bottom + size[2] / 2) as unknown as Vec3;
  reshape(editor, "default size", box, { size_lwh_m: size, center_xyz_m: center });
}

/** Turn the selected track by half a turn, in all frames or in this one only. */
export function flip(editor: Editor, onlyHere: boolean): void {
  const { selected, selectedBox, motion, frame } = editor.model;
  if (selected === null || selectedBox === null) return;
  editor.edit("flip", (document) =>
    flipHeading(document, motion, selected, onlyHere ? frame : undefined),
  );
}

/** Remove the selected box from this frame, or its whole track. */
export function remove(editor: Editor, whole: boolean): void {
  const { selected, frame, motion, selectedBox } = editor.model;
  if (selected === null || (selectedBox === null && !whole)) return;
  editor.edit(whole ? "delete track" : "delete", (document) =>
    whole ? deleteTrack(document, selected) : hide(document, motion, selected, frame, frame),
  );
}

/** Make a new track with a box in this frame and select it. */
export function addBox(editor: Editor, label: string, shape: Shape, category: string): void {
  const { motion, frame } = editor.model;
  const track_id = editor.model.newTrackId();
  const box: Box = {
    center_xyz_m: shape.center_xyz_m,
    size_lwh_m: shape.size_lwh_m,
    yaw_rad: shape.yaw_rad,
    track_id,
    frame,
    category,
    origin: "manual",
    key_frame: true,
    attributes: {},
  };
  editor.edit(label, (document) => placeBox(document, motion, box), { select: track_id });
}
