import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boxAt } from "../src/core/document";
import { History } from "../src/core/history";
import { type Command, Model } from "../src/core/model";
import { toMap } from "../src/core/motion";
import { placeBox } from "../src/core/tracks";
import type { Box, Vec3 } from "../src/core/types";
import { deleteTrack, setCategory } from "../src/core/whole-tracks";
import { box, drivingClip } from "./support";

function opened(boxes: Box[] = [box()], frames = 6) {
  const time = { ms: 0 };
  const model = new Model(drivingClip(frames), boxes, [], () => time.ms);
  return { model, time };
}

function move(model: Model, x: number, part: Partial<Command> = {}): Command {
  const moved = { ...box(), center_xyz_m: [x, 2, 0.9] as Vec3 };
  return { label: "move", run: (from) => placeBox(from, model.motion, moved), ...part };
}

describe("undo", () => {
  test("takes back what was done, redo does it again, a new change ends redo", () => {
    const { model } = opened();
    const start = model.document;
    model.run(move(model, 11));
    model.run(move(model, 12));
    const end = model.document;
    model.undo();
    model.undo();
    expect(model.document).toBe(start);
    expect(model.undoLabel).toBeNull();
    model.redo();
    model.redo();
    expect(model.document).toBe(end);
    model.undo();
    model.run(move(model, 13));
    expect(model.redoLabel).toBeNull();
  });

  test("takes back a drag as one step", () => {
    const { model, time } = opened();
    const start = model.document;
    for (let x = 11; x < 20; x++) {
      time.ms += 5000; // the pointer rests in the middle of it
      model.run(move(model, x, { key: "drag", held: true }));
    }
    model.endGesture();
    model.run(move(model, 30, { key: "drag", held: true }));
    model.undo();
    expect(boxAt(model.document, "1", 0)!.center_xyz_m[0]).toBe(19);
    model.undo();
    expect(model.document).toBe(start);
  });

  test("takes back quick key presses as one step, slow ones one by one", () => {
    const { model, time } = opened();
    for (const [x, at] of [
      [11, 0],
      [12, 100],
      [13, 3000],
    ]) {
      time.ms = at;
      model.run(move(model, x, { key: "nudge" }));
    }
    model.undo();
    expect(boxAt(model.document, "1", 0)!.center_xyz_m[0]).toBe(12);
    model.undo();
    expect(boxAt(model.document, "1", 0)!.center_xyz_m[0]).toBe(10);
  });

  test("shows the frame and the box that it changes", () => {
    const { model } = opened();
    model.select("1");
    model.run({ label: "delete", run: (from) => deleteTrack(from, "1") });
    expect(model.selected).toBeNull();
    model.showFrame(4);
    model.undo();
    expect(model.frame).toBe(0);
    expect(model.selectedBox).not.toBeNull();
  });

  test("of any row of changes ends at the beginning, redo at the end", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 1, maxLength: 20 }), (values) => {
        const history = new History<number>(-1);
        for (const value of values) history.push("set", value);
        while (history.undo());
        expect(history.state).toBe(-1);
        while (history.redo());
        expect(history.state).toBe(values.at(-1));
      }),
    );
  });
});

test("a command that fails or changes nothing leaves no step", () => {
  const { model } = opened();
  const start = model.document;
  expect(() => model.run({ label: "x", run: (from) => deleteTrack(from, "9") })).toThrow();
  model.run({ label: "nothing", run: (from) => from });
  expect(model.undoLabel).toBeNull();
  expect(model.document).toBe(start);
});

test("listeners hear what changed and what was before", () => {
  const { model } = opened();
  const heard: string[] = [];
  const end = model.subscribe((now, before) => {
    if (now.document !== before.document) heard.push("document");
    if (now.frame !== before.frame) heard.push(`frame ${before.frame} to ${now.frame}`);
    if (now.selected !== before.selected) heard.push(`select ${now.selected}`);
  });
  model.showFrame(99);
  model.showFrame(99);
  model.select("1");
  model.run(move(model, 12));
  end();
  model.showFrame(0);
  expect(heard).toEqual(["frame 0 to 5", "select 1", "document"]);
});

describe("paste", () => {
  test("goes on with the track in a frame where it has no box, at the same place of the map", () => {
    const { model } = opened();
    model.select("1");
    expect(model.copy()).toBe(true);
    model.showFrame(3);
    model.paste();
    expect([...model.document.tracks.keys()]).toEqual(["1"]);
    const [a, b] = [0, 3].map((frame) => toMap(model.motion, boxAt(model.document, "1", frame)!));
    for (let i = 0; i < 3; i++) expect(a.center_xyz_m[i]).toBeCloseTo(b.center_xyz_m[i], 9);
  });

  test("makes another track where the track has a box, or where a place is given", () => {
    const { model } = opened();
    model.select("1");
    model.copy();
    model.paste([5, 5, 1]);
    expect(model.selected).toBe("2");
    expect(model.selectedBox!.center_xyz_m).toEqual([5, 5, 1]);
    expect(model.selectedBox!.origin).toBe("manual");
    model.paste();
    expect(model.selected).toBe("3");
    const { model: nothing } = opened([]);
    nothing.paste();
    expect(nothing.document.tracks.size).toBe(0);
  });

  test("stands on the ground by its own height, whatever is selected", () => {
    const { model } = opened([box(), box({ track_id: "2", size_lwh_m: [9, 2.5, 4] })]);
    expect(model.copiedOn([5, 5, -1])).toBeNull();
    model.select("1");
    model.copy();
    model.select("2");
    expect(model.copiedOn([5, 5, -1])).toEqual([5, 5, -1 + 1.7 / 2]);
  });

  test("does not undo what became of the track's class and size after it was copied", () => {
    const { model } = opened();
    model.select("1");
    model.copy();
    model.run({ label: "category", run: (from) => setCategory(from, "1", "truck") });
    const longer = { ...model.selectedBox!, size_lwh_m: [9, 2.5, 3.7] as Vec3 };
    model.run({ label: "resize", run: (from) => placeBox(from, model.motion, longer) });
    model.showFrame(3);
    model.paste();
    for (const frame of [0, 3]) {
      const { category, size_lwh_m } = boxAt(model.document, "1", frame)!;
      expect([category, size_lwh_m]).toEqual(["truck", [9, 2.5, 3.7]]);
    }
    const bottom = toMap(model.motion, model.selectedBox!).center_xyz_m[2] - 3.7 / 2;
    expect(bottom).toBeCloseTo(0.9 - 1.7 / 2, 9);
  });
});

test("300 tracks over 50 frames: a drag touches one track and leaves the others as they are", () => {
  const boxes: Box[] = [];
  for (let track = 0; track < 300; track++)
    for (let frame = 0; frame < 50; frame++)
      boxes.push(
        box({
          track_id: `${track}`,
          frame,
          center_xyz_m: [track, frame, 1],
          key_frame: frame % 10 === 0,
        }),
      );
  const { model } = opened(boxes, 50);
  const before = model.boxes;
  const moved = { ...before[7], center_xyz_m: [100, 100, 1] as Vec3 };
  model.run({ label: "move", run: (from) => placeBox(from, model.motion, moved) });
  const changed = model.boxes.filter((b, i) => b !== before[i]);
  expect(changed).toHaveLength(1);
  expect(changed[0].track_id).toBe("7");
});
