import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allBoxes,
  boxAt,
  boxesAt,
  documentOf,
  EditError,
  emptyDocument,
  gapsOf,
  keyFramesOf,
  newTrackId,
} from "../src/core/document";
import { iou3d, toBox } from "../src/core/geometry";
import { fromMap, motionOf, predict, toMap } from "../src/core/motion";
import { propagate } from "../src/core/propagate";
import { hide, placeBox, setKeyFrame, show } from "../src/core/tracks";
import type { Box, Document, Vec3 } from "../src/core/types";
import {
  deleteTrack,
  flipHeading,
  makeStatic,
  mergeTracks,
  renameTrack,
  setCategory,
  splitTrack,
  spreadCorrection,
} from "../src/core/whole-tracks";
import { box, drivingClip } from "./support";

const FRAMES = 12;
const motion = motionOf(drivingClip(FRAMES));
const empty = emptyDocument(FRAMES);

/** Return a box of a frame at a place of the map. */
function mapBox(frame: number, center: Vec3, yaw: number, part: Partial<Box> = {}): Box {
  return fromMap(motion, { center_xyz_m: center, yaw_rad: yaw }, frame, box({ frame, ...part }));
}

/** Return a document with key frames of one track, driving along x of the map. */
function driven(frames: readonly number[], speed = 8): Document {
  return frames.reduce(
    (doc, frame) => placeBox(doc, motion, mapBox(frame, [20 + speed * 0.1 * frame, 3, 1], 0.1)),
    empty,
  );
}

describe("between key frames", () => {
  test("a box moves straight and evenly in the map, whatever the own vehicle does", () => {
    const document = driven([0, 10]);
    const track = document.tracks.get("1")!;
    expect(keyFramesOf(track)).toEqual([0, 10]);
    for (let frame = 0; frame <= 10; frame++) {
      const { center_xyz_m: c, yaw_rad } = toMap(motion, track.boxes[frame]!);
      expect(c[0]).toBeCloseTo(20 + 0.8 * frame, 6);
      expect(c[1]).toBeCloseTo(3, 6);
      expect(c[2]).toBeCloseTo(1, 6);
      expect(yaw_rad).toBeCloseTo(0.1, 6);
      expect(track.boxes[frame]!.size_lwh_m).toEqual(box().size_lwh_m);
      expect(track.boxes[frame]!.key_frame).toBe(frame === 0 || frame === 10);
    }
    expect(track.boxes[11]).toBeNull();
  });

  test("a box turns the shorter way", () => {
    const start = placeBox(empty, motion, mapBox(0, [20, 3, 1], 3.0));
    const document = placeBox(start, motion, mapBox(4, [20, 3, 1], -3.0));
    const yaw = toMap(motion, boxAt(document, "1", 2)!).yaw_rad;
    expect(Math.abs(Math.abs(yaw) - Math.PI)).toBeLessThan(1e-6);
  });

  test("a new key frame bends the way on both sides", () => {
    const document = placeBox(driven([0, 10]), motion, mapBox(5, [24, 5, 1], 0.1));
    expect(toMap(motion, boxAt(document, "1", 4)!).center_xyz_m[1]).toBeCloseTo(4.6, 6);
    expect(toMap(motion, boxAt(document, "1", 7)!).center_xyz_m[1]).toBeCloseTo(4.2, 6);
    const back = setKeyFrame(document, motion, "1", 5, false);
    expect(toMap(motion, boxAt(back, "1", 5)!).center_xyz_m[1]).toBeCloseTo(3, 6);
  });

  test("any key frames are met exactly, and every frame between them has a box", () => {
    const place = fc.tuple(
      fc.integer({ min: 0, max: FRAMES - 1 }),
      fc.double({ min: -50, max: 50, noNaN: true }),
      fc.double({ min: -50, max: 50, noNaN: true }),
      fc.double({ min: -3, max: 3, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 6 }), (places) => {
        const boxes = places.map(([frame, x, y, yaw_rad]) =>
          box({ frame, center_xyz_m: [x, y, 1], yaw_rad }),
        );
        const document = boxes.reduce((doc, b) => placeBox(doc, motion, b), empty);
        const last = new Map(boxes.map((b) => [b.frame, b]));
        for (const [frame, b] of last)
          expect(boxAt(document, "1", frame)!.center_xyz_m).toEqual(b.center_xyz_m);
        const frames = [...last.keys()];
        const track = document.tracks.get("1")!;
        expect(gapsOf(track)).toEqual([]);
        expect(keyFramesOf(track)).toEqual(frames.sort((a, b) => a - b));
        expect(track.boxes.filter((b) => b !== null)).toHaveLength(
          Math.max(...frames) - Math.min(...frames) + 1,
        );
      }),
    );
  });
});

describe("a size is that of the track", () => {
  test("a face that is pulled moves in all frames, the others stay where they were", () => {
    const document = driven([0, 10]);
    const old = boxAt(document, "1", 4)!;
    const [c, s] = [Math.cos(old.yaw_rad), Math.sin(old.yaw_rad)];
    const [x, y, z] = old.center_xyz_m;
    const longer = { ...old, size_lwh_m: [5.5, 1.9, 1.7] as Vec3 };
    const pulled = { ...longer, center_xyz_m: [x + 0.5 * c, y + 0.5 * s, z] as Vec3 };
    const changed = placeBox(document, motion, pulled);
    for (const frame of [0, 2, 10]) {
      const [before, after] = [boxAt(document, "1", frame)!, boxAt(changed, "1", frame)!];
      expect(after.size_lwh_m[0]).toBe(5.5);
      const moved = toBox(before, after.center_xyz_m);
      expect(moved[0]).toBeCloseTo(0.5, 3); // the rear is where it was
      expect(moved[1]).toBeCloseTo(0, 3);
    }
  });

  test("a category that is changed is that of all boxes", () => {
    const document = setCategory(driven([0, 3]), "1", "truck");
    expect(new Set(allBoxes(document).map(({ category }) => category))).toEqual(new Set(["truck"]));
    expect(document.tracks.get("1")!.category).toBe("truck");
  });

  test("no size is refused", () => {
    expect(() => placeBox(empty, motion, box({ size_lwh_m: [0, 1, 1] }))).toThrow(EditError);
  });

  test("what the server would refuse with all the work is refused here", () => {
    const place = (part: Partial<Box>) => placeBox(empty, motion, box(part));
    expect(() => place({ size_lwh_m: [450, 1.9, 1.7] })).toThrow(/450 x 1.9 x 1.7 m is no size/);
    expect(() => place({ center_xyz_m: [1e6, 0, 0] })).toThrow(/no place/);
    expect(() => place({ center_xyz_m: [Number.NaN, 0, 0] })).toThrow(/no place/);
    expect(() => renameTrack(place({}), "1", "x".repeat(101))).toThrow(/100 letters/);
    expect(renameTrack(place({}), "1", "Ärger 7").tracks.has("Ärger 7")).toBe(true);
  });
});

describe("gaps", () => {
  test("a hidden stretch stays empty, and what is left does not move", () => {
    const document = driven([0, 10]);
    const hidden = hide(document, motion, "1", 4, 6);
    expect(gapsOf(hidden.tracks.get("1")!)).toEqual([4, 5, 6]);
    for (const frame of [0, 2, 3, 7, 9])
      expect(iou3d(boxAt(hidden, "1", frame)!, boxAt(document, "1", frame)!)).toBeCloseTo(1, 6);
    const moved = placeBox(hidden, motion, mapBox(8, [26, 4, 1], 0.1));
    expect(gapsOf(moved.tracks.get("1")!)).toEqual([4, 5, 6]);
  });

  test("what is shown again lies between its neighbours", () => {
    const document = driven([0, 10]);
    const again = show(hide(document, motion, "1", 4, 6), motion, "1", 5, 6);
    expect(gapsOf(again.tracks.get("1")!)).toEqual([4]);
    expect(iou3d(boxAt(again, "1", 5)!, boxAt(document, "1", 5)!)).toBeCloseTo(1, 6);
  });

  test("gaps survive storing and opening", () => {
    const hidden = hide(driven([0, 10]), motion, "1", 4, 6);
    const opened = documentOf(JSON.parse(JSON.stringify(allBoxes(hidden))), FRAMES);
    expect(opened).toEqual(hidden);
  });

  test("a track without a box is no track", () => {
    expect(hide(driven([0, 3]), motion, "1", 0, 11).tracks.size).toBe(0);
  });
});

describe("whole tracks", () => {
  const two = placeBox(driven([0, 4]), motion, mapBox(7, [30, 9, 1], 0.3, { track_id: "2" }));

  test("are split and merged back into the same boxes", () => {
    const { document, newId } = splitTrack(two, "1", 3);
    expect(newId).toBe("3");
    expect(keyFramesOf(document.tracks.get("1")!)).toEqual([0, 2]);
    expect(keyFramesOf(document.tracks.get("3")!)).toEqual([3, 4]);
    const merged = mergeTracks(document, "1", "3");
    expect([...merged.tracks.keys()].sort()).toEqual(["1", "2"]);
    for (let frame = 0; frame < 5; frame++)
      expect(boxAt(merged, "1", frame)!.center_xyz_m).toEqual(boxAt(two, "1", frame)!.center_xyz_m);
  });

  test("merged with a hole between them are filled only when told", () => {
    const merged = mergeTracks(two, "1", "2");
    expect(gapsOf(merged.tracks.get("1")!)).toEqual([5, 6]);
    expect(gapsOf(show(merged, motion, "1", 5, 6).tracks.get("1")!)).toEqual([]);
    expect(boxAt(merged, "1", 7)!.track_id).toBe("1");
  });

  test("merged over the same frames stay where they were when something else is changed", () => {
    const other = (frame: number, x: number) => mapBox(frame, [x, 4, 1], 0.1, { track_id: "2" });
    const apart = [other(1, 15), other(11, 30)].reduce(
      (doc, one) => placeBox(doc, motion, one),
      hide(driven([0, 8]), motion, "1", 3, 4),
    );
    const merged = mergeTracks(apart, "1", "2");
    const turned = { ...boxAt(merged, "1", 0)!, yaw_rad: 0.2 };
    const later = placeBox(merged, motion, turned);
    for (const frame of [3, 4, 5, 8, 9, 10, 11]) {
      const [now, then] = [boxAt(later, "1", frame)!, boxAt(merged, "1", frame)!];
      for (let i = 0; i < 3; i++) expect(now.center_xyz_m[i]).toBeCloseTo(then.center_xyz_m[i], 9);
    }
  });

  test("are renamed in their place, deleted, and numbered anew", () => {
    const renamed = renameTrack(two, "1", "bus 7");
    expect([...renamed.tracks.keys()]).toEqual(["bus 7", "2"]);
    expect(boxAt(renamed, "bus 7", 0)!.track_id).toBe("bus 7");
    expect(() => renameTrack(two, "1", "2")).toThrow(/merge/);
    expect(newTrackId(renamed)).toBe("3");
    expect([...deleteTrack(two, "1").tracks.keys()]).toEqual(["2"]);
    expect(() => deleteTrack(two, "9")).toThrow(EditError);
    expect(() => mergeTracks(two, "1", "1")).toThrow(EditError);
    expect(() => splitTrack(two, "1", 0)).toThrow(EditError);
  });

  test("are turned round, twice is as before", () => {
    const flipped = flipHeading(two, motion, "1");
    for (let frame = 0; frame < 5; frame++) {
      const [before, after] = [boxAt(two, "1", frame)!, boxAt(flipped, "1", frame)!];
      expect(Math.cos(after.yaw_rad - before.yaw_rad)).toBeCloseTo(-1, 9);
    }
    const twice = boxAt(flipHeading(flipped, motion, "1"), "1", 2)!;
    expect(twice.yaw_rad).toBeCloseTo(boxAt(two, "1", 2)!.yaw_rad, 9);
    const one = flipHeading(two, motion, "1", 4);
    expect(boxAt(one, "1", 0)).toBe(boxAt(two, "1", 0));
  });

  test("stand still in the map while the own vehicle drives", () => {
    const still = makeStatic(two, motion, "1", 2);
    const { center_xyz_m: c } = toMap(motion, boxAt(still, "1", 2)!);
    for (let frame = 0; frame < 5; frame++) {
      const { center_xyz_m } = toMap(motion, boxAt(still, "1", frame)!);
      for (let i = 0; i < 3; i++) expect(center_xyz_m[i]).toBeCloseTo(c[i], 9);
    }
  });
});

describe("origin", () => {
  const predicted = documentOf(
    [0, 1, 2].map((frame) => box({ frame, origin: "prediction", score: 0.9 })),
    FRAMES,
  );

  test("a prelabel that is moved is a changed one, its neighbours are not", () => {
    const document = placeBox(predicted, motion, box({ frame: 1, center_xyz_m: [11, 2, 0.9] }));
    const origins = document.tracks
      .get("1")!
      .boxes.slice(0, 3)
      .map((b) => b!.origin);
    expect(origins).toEqual(["prediction", "prediction-changed", "prediction"]);
    expect("score" in boxAt(document, "1", 1)!).toBe(false);
  });

  test("a prelabel that is placed where it was stays one", () => {
    const document = placeBox(predicted, motion, boxAt(predicted, "1", 1)!);
    expect(boxAt(document, "1", 1)!.origin).toBe("prediction");
  });

  test("a box in a frame without prelabel is manual, also of a predicted track", () => {
    const document = placeBox(predicted, motion, box({ frame: 5, origin: "prediction" }));
    expect(boxAt(document, "1", 5)!.origin).toBe("manual");
  });

  test("a size that is changed changes every prelabel of the track", () => {
    const wider = box({ frame: 1, size_lwh_m: [4.5, 2.2, 1.7] });
    const document = placeBox(predicted, motion, wider);
    expect(allBoxes(document).every(({ origin }) => origin === "prediction-changed")).toBe(true);
  });
});

test("a correction is spread over the untouched prelabels of the track", () => {
  const prelabels = [0, 1, 2, 3].map((frame) =>
    box({ frame, origin: "prediction", yaw_rad: 0.5 * frame, center_xyz_m: [10 + frame, 2, 1] }),
  );
  const touched = { ...prelabels[3], center_xyz_m: [20, 2, 1] as Vec3 };
  const corrected = { ...prelabels[1], yaw_rad: 0.6, center_xyz_m: [11.2, 2.3, 1.1] as Vec3 };
  const shift = toBox(prelabels[1], corrected.center_xyz_m);
  const before = [touched, corrected].reduce(
    (document, b) => placeBox(document, motion, b),
    documentOf(prelabels, FRAMES),
  );
  const after = spreadCorrection(before, "1", 1, prelabels[1]);
  for (const frame of [0, 2]) {
    const b = boxAt(after, "1", frame)!;
    const moved = toBox(prelabels[frame], b.center_xyz_m);
    for (let i = 0; i < 3; i++) expect(moved[i]).toBeCloseTo(shift[i], 9);
    expect(b.yaw_rad - prelabels[frame].yaw_rad).toBeCloseTo(0.1, 9);
    expect(b.origin).toBe("prediction-changed");
  }
  expect(boxAt(after, "1", 3)).toBe(boxAt(before, "1", 3));
  expect(boxAt(after, "1", 1)).toBe(boxAt(before, "1", 1));
});

describe("the next frame", () => {
  test("a moving object goes on at its speed, a standing one stays in the map", () => {
    const document = driven([0, 3]);
    const track = document.tracks.get("1")!;
    const next = predict(motion, track, track.boxes[3]!, 4);
    expect(toMap(motion, next).center_xyz_m[0]).toBeCloseTo(20 + 0.8 * 4, 6);
    const earlier = predict(motion, track, track.boxes[0]!, 1);
    expect(toMap(motion, earlier).center_xyz_m[0]).toBeCloseTo(20, 6); // nothing before it
    const parked = driven([0, 3], 0.2);
    const [p] = [parked.tracks.get("1")!];
    const still = predict(motion, p, p.boxes[3]!, 6);
    expect(toMap(motion, still).center_xyz_m[0]).toBeCloseTo(20.06, 6);
  });

  test("without points motion alone tells; a frame outside is refused", () => {
    const none = { from: null, to: null };
    const next = propagate(driven([0, 3]), motion, "1", 3, 4, none);
    expect(toMap(motion, next).center_xyz_m[0]).toBeCloseTo(23.2, 6);
    expect(() => propagate(driven([0]), motion, "1", 5, 6, none)).toThrow(EditError);
    expect(() => propagate(driven([11]), motion, "1", 11, 12, none)).toThrow(EditError);
  });
});

test("boxes of a frame are the same array until the document changes", () => {
  const document = driven([0, 3]);
  expect(boxesAt(document, 1)).toBe(boxesAt(document, 1));
  expect(boxesAt(document, 1)).toHaveLength(1);
  expect(boxesAt(document, 9)).toEqual([]);
});

test("boxes outside the clip or twice in a frame are refused", () => {
  expect(() => documentOf([box({ frame: FRAMES })], FRAMES)).toThrow(EditError);
  expect(() => documentOf([box(), box()], FRAMES)).toThrow(/two boxes/);
});
