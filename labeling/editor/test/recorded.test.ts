/** On files that the Python code wrote into a folder: large sweeps, and frames with true boxes. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodeSweep } from "../src/core/codec";
import { documentOf } from "../src/core/document";
import { fitBox } from "../src/core/fit";
import { bevIou, pointsInBox } from "../src/core/geometry";
import { toMap } from "../src/core/motion";
import { type PropagatePoints, propagate } from "../src/core/propagate";
import type { Box } from "../src/core/types";
import {
  clickOn,
  type Errors,
  errorsOf,
  median,
  readClip,
  TAXONOMY,
  type Truth,
} from "./recordings";
import { fromBase64, generator } from "./support";

const FOLDER = process.env.EDITOR_GOLDEN ?? "";
const RANGE_M = 50;
const LEAST_POINTS = 30;

describe.skipIf(!existsSync(join(FOLDER, "sweeps")))("large sweeps", () => {
  const names = existsSync(join(FOLDER, "sweeps")) ? readdirSync(join(FOLDER, "sweeps")) : [];

  test.each(names)("%s is what the Python code reads", (name) => {
    const expected = JSON.parse(readFileSync(join(FOLDER, "sweeps", name), "utf8"));
    const sweep = decodeSweep(fromBase64(expected.bytes));
    const same = (ours: ArrayBufferView | null, theirs: string | null) =>
      ours === null
        ? theirs === null
        : Buffer.from(ours.buffer, ours.byteOffset, ours.byteLength).equals(fromBase64(theirs!));
    expect(sweep.count).toBe(expected.num_points);
    expect(same(sweep.xyz_m, expected.xyz_m)).toBe(true);
    expect(same(sweep.intensity, expected.intensity)).toBe(true);
    expect(same(sweep.ring, expected.ring)).toBe(true);
    expect(same(sweep.offset_ns, expected.offset_ns)).toBe(true);
  });
});

interface Row extends Errors {
  readonly iou: number;
}

/** Return medians and counts for the person who reads the report. */
function summary(rows: readonly Row[], tried: number) {
  const middle = (key: keyof Row) => Number(median(rows.map((row) => row[key])).toFixed(3));
  return {
    tried,
    fitted: rows.length,
    iou: middle("iou"),
    iou_above_half: rows.filter(({ iou }) => iou > 0.5).length / tried,
    center_m: middle("center_m"),
    bottom_m: middle("bottom_m"),
    size_m: middle("size_m"),
    axis_deg: middle("axis_deg"),
    flipped: rows.filter(({ yaw_deg }) => yaw_deg > 90).length / Math.max(rows.length, 1),
  };
}

describe.skipIf(!existsSync(join(FOLDER, "clip")))("boxes of people on real points", () => {
  const clip = () => readClip(join(FOLDER, "clip"));
  const isClear = (truth: Truth, count: number) =>
    truth.category === "car" &&
    Math.hypot(truth.center_xyz_m[0], truth.center_xyz_m[1]) < RANGE_M &&
    count >= LEAST_POINTS;

  test("a click on a car becomes nearly the box that a person drew", () => {
    const { frames, truth, points } = clip();
    const random = generator(1);
    const rows: Row[] = [];
    let tried = 0;
    for (let frame = 0; frame < frames.length; frame += 5) {
      const sweep = points(frame);
      for (const box of truth[frame]) {
        if (!isClear(box, pointsInBox(sweep.xyz_m, box).length)) continue;
        const click = clickOn(sweep, box, random);
        if (!click) continue;
        tried++;
        const fit = fitBox(sweep, click, { categories: TAXONOMY, category: box.category });
        if (fit) rows.push({ iou: bevIou(fit.shape, box), ...errorsOf(fit.shape, box) });
      }
    }
    const found = summary(rows, tried);
    writeFileSync(join(FOLDER, "fit.json"), JSON.stringify(found));
    expect(tried).toBeGreaterThan(50);
    expect(found.iou_above_half).toBeGreaterThan(0.75);
    expect(found.center_m).toBeLessThan(0.35);
    expect(found.axis_deg).toBeLessThan(4);
    expect(found.bottom_m).toBeLessThan(0.12);
    expect(found.size_m).toBeLessThan(0.3);
  });

  test("a true box goes on to the next frame, as nearly as people's own motion tells", () => {
    const { frames, motion, truth, points } = clip();
    const rows = new Map<string, Row[]>();
    const add = (kind: string, row: Row) => rows.set(kind, [...(rows.get(kind) ?? []), row]);
    for (let frame = 1; frame + 1 < frames.length; frame += 6) {
      const [from, to] = [points(frame), points(frame + 1)];
      for (const after of truth[frame + 1]) {
        const before = truth[frame].find(({ track_id }) => track_id === after.track_id);
        if (!before || !isClear(after, pointsInBox(to.xyz_m, after).length)) continue;
        const earlier = truth[frame - 1].filter(({ track_id }) => track_id === after.track_id);
        const boxes = [...earlier, before].map(drawn);
        const [a, b] = [before, after].map((box) => toMap(motion, drawn(box)));
        const seconds = motion.time_s[frame + 1] - motion.time_s[frame];
        const way = Math.hypot(...[0, 1].map((i) => a.center_xyz_m[i] - b.center_xyz_m[i]));
        const kind = way / seconds > 1 ? "moving" : "standing";
        const errors = (from: Box[], given: PropagatePoints): Row => {
          const document = documentOf(from, frames.length);
          const box = propagate(document, motion, after.track_id, frame, frame + 1, given);
          return { iou: bevIou(box, after), ...errorsOf(box, after) };
        };
        add(kind, errors(boxes, { from, to }));
        add(`${kind}, first step`, errors(boxes.slice(-1), { from, to }));
        const alone = errors(boxes.slice(-1), { from: null, to: null });
        add(`${kind}, first step without points`, alone);
      }
    }
    const report = Object.fromEntries(
      [...rows].map(([k, found]) => [k, summary(found, found.length)]),
    );
    writeFileSync(join(FOLDER, "propagate.json"), JSON.stringify(report));
    for (const kind of ["moving", "standing", "moving, first step", "standing, first step"]) {
      expect(report[kind].tried).toBeGreaterThan(20);
      expect(report[kind].iou_above_half).toBeGreaterThan(0.95);
      expect(report[kind].center_m).toBeLessThan(0.1);
      expect(report[kind].axis_deg).toBeLessThan(1);
    }
    const [fitted, blind] = [
      report["moving, first step"],
      report["moving, first step without points"],
    ];
    expect(fitted.center_m).toBeLessThan(blind.center_m / 4);
  });
});

function drawn(box: Truth): Box {
  return { ...box, origin: "manual", key_frame: true, attributes: {} };
}
