import { expect, test } from "vitest";
import { discardProposals } from "../src/actions/tracks";
import { allBoxes, boxAt, documentOf } from "../src/core/document";
import { Model } from "../src/core/model";
import { placeBox } from "../src/core/tracks";
import type { Document, Vec3 } from "../src/core/types";
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
