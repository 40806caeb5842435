/** Boxes that come from the points: a click, a drawn rectangle, the ground, the next frame. */

import { boxAt } from "../core/document";
import { autoHeight, type Fit, fitBox, snapToGround } from "../core/fit";
import { bevIou, type Shape } from "../core/geometry";
import { findGround, groundAt } from "../core/ground";
import { headingHint } from "../core/heading";
import { propagate } from "../core/propagate";
import { refit } from "../core/refit";
import { placeBox } from "../core/tracks";
import type { Box, Category, Document, Vec3 } from "../core/types";
import { sizesOfClip } from "../core/usual";
import type { Editor } from "../editor";
import { addBox, reshape } from "./boxes";
import { isProposal } from "./tracks";

/** A fit that covers less of what was drawn is another object. */
const SAME_OBJECT_IOU = 0.3;
const LEAST_POINTS = 3;

/** Height of the ground at a place; null where none is seen. */
export function groundHeight(editor: Editor, x: number, y: number): number | null {
  const { cloud } = editor;
  const plane = cloud === null ? null : findGround(cloud.index, x, y);
  return plane === null ? null : groundAt(plane, x, y);
}

/** The box that was fitted last: another category fits it again, as long as nobody has touched it. */
const lastFit = new WeakMap<Editor, { box: Box | null; point: Vec3 }>();

/** Fit the selected box anew as a thing of another category; returns whether it was a fresh fit. */
export function fitAgainAs(editor: Editor, category: string): boolean {
  const box = editor.model.selectedBox;
  const last = lastFit.get(editor);
  if (box === null || box !== last?.box) return false;
  const fit = fitTo(editor, last.point, category);
  if (fit === null) return false;
  reshape(editor, "category", { ...box, category }, fit.shape);
  lastFit.set(editor, { box: editor.model.selectedBox, point: last.point });
  return true;
}

/** Return the box of the object at a point; it heads as its neighbours do. */
function fitTo(editor: Editor, point: Vec3, category: string | null): Fit | null {
  const { cloud, clip } = editor;
  const others = editor.model.boxes.filter((box) => box.track_id !== editor.model.selected);
  const yawHint = headingHint(others, point[0], point[1]);
  const { document, selected } = editor.model;
  // the selected box is the one that is fitted again: it says nothing about itself
  const categories = sizesOfClip(
    clip.categories,
    document,
    (box) => !isProposal(box) && box.track_id !== selected,
  );
  return cloud && fitBox(cloud, point, { categories, category, yawHint });
}

/** Make a box around the object that a point belongs to. */
export function fitAt(editor: Editor, point: Vec3): void {
  const fit = fitTo(editor, point, editor.category);
  if (fit === null) {
    editor.say("nothing stands there", "error");
    return;
  }
  addBox(editor, "fit", fit.shape, fit.category);
  lastFit.set(editor, { box: editor.model.selectedBox, point: [...point] });
  if (!fit.sure) editor.say(`not sure: look at the size of this ${fit.category}`);
}

/** Make a box from a rectangle on the ground, fitted to what is inside unless `exactly`. */
export function addDrawn(editor: Editor, drawn: Shape, exactly: boolean): void {
  const { cloud, clip } = editor;
  const [, , ground] = drawn.center_xyz_m;
  const category =
    editor.category ?? likelyCategory(clip.categories, editor.model.document, drawn).name;
  const height = editor.model.category(category)?.default_size_lwh_m[2] ?? 1.7;
  const [x, y] = drawn.center_xyz_m;
  const [length, width] = drawn.size_lwh_m;
  const standing: Shape = {
    ...drawn,
    center_xyz_m: [x, y, ground + height / 2],
    size_lwh_m: [length, width, height],
  };
  if (cloud === null) {
    addBox(editor, "draw", standing, category);
    return;
  }
  const fitted = exactly ? null : fittedTo(editor, standing, category);
  addBox(editor, "draw", fitted ?? autoHeight(cloud, standing), category);
}

/** Return the box of the object in the middle of a drawn one, if it is about that. */
function fittedTo(editor: Editor, drawn: Shape, category: string): Shape | null {
  const { cloud, clip } = editor;
  if (cloud === null) return null;
  const point = middlePoint(
    cloud.index.xyz_m,
    cloud.index.near(
      drawn.center_xyz_m[0],
      drawn.center_xyz_m[1],
      Math.min(drawn.size_lwh_m[0], drawn.size_lwh_m[1]) * 0.6,
    ),
    drawn,
  );
  if (point === null) return null;
  const options = { categories: clip.categories, category, yawHint: drawn.yaw_rad };
  const fit = fitBox(cloud, point, options);
  if (fit === null || bevIou(fit.shape, drawn) < SAME_OBJECT_IOU) return null;
  return fit.shape;
}

/** Return the point over the ground that is nearest to the middle of a box. */
function middlePoint(xyz: Float32Array, candidates: readonly number[], box: Shape): Vec3 | null {
  const bottom = box.center_xyz_m[2] - box.size_lwh_m[2] / 2;
  const high = candidates.filter((i) => {
    const above = xyz[3 * i + 2] - bottom;
    return above > 0.25 && above < 4;
  });
  if (high.length < LEAST_POINTS) return null;
  const off = (i: number) =>
    Math.hypot(xyz[3 * i] - box.center_xyz_m[0], xyz[3 * i + 1] - box.center_xyz_m[1]);
  const best = high.reduce((a, b) => (off(b) < off(a) ? b : a));
  return [xyz[3 * best], xyz[3 * best + 1], xyz[3 * best + 2]];
}

/** What a category gains by each doubling of its tracks in the clip. */
const FAMILIAR = 0.1;

/** Return the category whose usual length and width are near those of a box, common ones first. */
function likelyCategory(
  categories: readonly Category[],
  document: Document,
  { size_lwh_m: size }: Shape,
): Category {
  const tracks = [...document.tracks.values()];
  const cost = ({ name, default_size_lwh_m: usual }: Category) => {
    const seen = tracks.filter((track) => track.category === name).length;
    const off = Math.abs(Math.log(size[0] / usual[0])) + Math.abs(Math.log(size[1] / usual[1]));
    return off - FAMILIAR * Math.log2(1 + seen);
  };
  return categories.reduce((a, b) => (cost(b) < cost(a) ? b : a));
}

/** Change the selected box by a function of the points. */
function fromPoints(
  editor: Editor,
  label: string,
  change: (points: { xyz_m: Float32Array }, box: Shape) => Shape,
): void {
  const { cloud } = editor;
  const box = editor.model.selectedBox;
  if (box === null) return;
  if (cloud === null) {
    editor.say("the points of this frame are not here yet", "error");
    return;
  }
  const { center_xyz_m, size_lwh_m, yaw_rad } = change(cloud, box);
  reshape(editor, label, box, { center_xyz_m, size_lwh_m, yaw_rad });
}

/** Move the selected box onto the points near it; its size stays. */
export function refitSelected(editor: Editor): void {
  fromPoints(editor, "refit", (points, box) => refit(points, box).shape);
}

/** Put the selected box on the ground. */
export function putOnGround(editor: Editor): void {
  fromPoints(editor, "ground", snapToGround);
}

/** Take bottom and top of the selected box from the points. */
export function fitHeight(editor: Editor): void {
  fromPoints(editor, "height", autoHeight);
}

/** Carry the selected box into a neighbouring frame, fit it there and show that frame. */
export async function carry(editor: Editor, step: 1 | -1): Promise<void> {
  const { selected, frame, motion } = editor.model;
  const to = frame + step;
  if (selected === null || to < 0 || to >= editor.clip.frames.length) return;
  const there = boxAt(editor.model.document, selected, to);
  if (there?.key_frame) {
    editor.model.showFrame(to);
    return editor.say(`track ${selected} has a key frame here already; R fits it again`);
  }
  let points: Parameters<typeof propagate>[5];
  try {
    points = { from: await editor.clouds.load(frame), to: await editor.clouds.load(to) };
  } catch (error) {
    return editor.say(`track ${selected} was not propagated: ${String(error)}`, "error");
  }
  editor.edit("propagate", (document) =>
    placeBox(document, motion, propagate(document, motion, selected, frame, to, points)),
  );
  if (editor.model.frame === frame) editor.model.showFrame(to);
}
