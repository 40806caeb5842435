import { expect, test } from "vitest";
import { addBox, remove } from "../src/actions/boxes";
import { discardProposals, split } from "../src/actions/tracks";
import { allBoxes, boxAt, documentOf } from "../src/core/document";
import { Model } from "../src/core/model";
import { placeBox } from "../src/core/tracks";
import type { Document, Vec3 } from "../src/core/types";
import { deleteTrack } from "../src/core/whole-tracks";
import type { Editor } from "../src/editor";
import { box, drivingClip } from "./support";

/** Return what of the editor changes a document. */
function editorOf(model: Model): Editor {
  const edit = (label: string, run: (from: Document) => Document) => model.run({ label, run });
  return { model, edit } as unknown as Editor;
}

test("prelabels that are discarded leave the boxes beside them where they are", () => {
  const prelabels = [0, 8].map((frame) => box({ frame, origin: "prediction" }));
  const model = new Model(drivingClip(9), prelabels, prelabels);
  const drawn = box({ frame: 4, center_xyz_m: [17, 2, 0.9] });
  const between = box({ track_id: "1", frame: 2, key_frame: false });
  model.run({
    label: "draw",
    run: (from) => placeBox(documentOf([...allBoxes(from), between], 9), model.motion, drawn),
  });
  discardProposals(editorOf(model));
  const left = model.document;
  expect(allBoxes(left).map(({ frame }) => frame)).toEqual([2, 4]);
  const moved = { ...boxAt(left, "1", 4)!, center_xyz_m: [18, 2, 0.9] as Vec3 };
  const later = placeBox(left, model.motion, moved);
  expect(boxAt(later, "1", 2)!.center_xyz_m).toEqual(boxAt(left, "1", 2)!.center_xyz_m);
});

test("a new object never gets the id of a prelabel that was deleted", () => {
  const prelabels = [0, 1].map((frame) => box({ track_id: "7", frame, origin: "prediction" }));
  const model = new Model(drivingClip(2), prelabels, prelabels);
  const editor = editorOf(model);
  model.select("7");
  model.copy();
  remove(editor, true);
  addBox(editor, "draw", box(), "car");
  model.paste([5, 5, 1]);
  expect([...model.document.tracks.keys()]).toEqual(["8", "9"]);
  const long = { ...boxAt(model.document, "9", 0)!, frame: 1 };
  model.run({ label: "draw", run: (from) => placeBox(deleteTrack(from, "8"), model.motion, long) });
  model.showFrame(1);
  model.select("9");
  split(editor);
  expect([...model.document.tracks.keys()]).toEqual(["9", "10"]);
});
