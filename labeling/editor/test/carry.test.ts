import { expect, test } from "vitest";
import { carry } from "../src/actions/fitting";
import { Model } from "../src/core/model";
import type { Editor } from "../src/editor";
import { box, drivingClip } from "./support";

test("a sweep that does not load is told, and the box and the frame stay", async () => {
  const model = new Model(drivingClip(3), [box()], []);
  model.select("1");
  const said: unknown[][] = [];
  const editor = {
    model,
    clip: drivingClip(3),
    clouds: { load: () => Promise.reject(new Error("no answer from the server")) },
    say: (...what: unknown[]) => said.push(what),
  } as unknown as Editor;
  const before = model.document;
  await carry(editor, 1);
  expect(said).toEqual([[expect.stringContaining("no answer from the server"), "error"]]);
  expect([model.document, model.frame]).toEqual([before, 0]);
});
