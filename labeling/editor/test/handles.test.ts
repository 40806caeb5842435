import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Shape } from "../src/core/geometry";
import { toBox } from "../src/core/geometry";
import { dragged, halfExtent, handleAt, knob, type Plane, shifted } from "../src/views/handles";

const OPTIONS = { symmetric: false, stepped: false };
const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const shape: fc.Arbitrary<Shape> = fc.record({
  center_xyz_m: fc.tuple(number(-50, 50), number(-50, 50), number(-2, 2)),
  size_lwh_m: fc.tuple(number(0.5, 12), number(0.5, 4), number(0.5, 4)),
  yaw_rad: number(-3.1, 3.1),
});
const plane: fc.Arbitrary<Plane> = fc.record({
  axes: fc.constantFrom([0, 1] as const, [0, 2] as const, [1, 2] as const),
  scale: number(20, 200),
  middle: fc.constant({ x: 150, y: 90 }),
});

/** Return the centre of a face in the axes of another box. */
function face(of: Shape, axis: number, side: number, seenFrom: Shape): number {
  const at = shifted(of, [[axis, (side * of.size_lwh_m[axis]) / 2]]).center_xyz_m;
  return toBox(seenFrom, at)[axis];
}

describe("handles", () => {
  it("leave the opposite face where it was, and move this one with the pointer", () => {
    fc.assert(
      fc.property(shape, plane, fc.constantFrom(-1, 1), number(-20, 200), (box, view, side, px) => {
        const [axis] = view.axes;
        const from = { x: 150 + (side * box.size_lwh_m[axis] * view.scale) / 2, y: 90 };
        const outwards = Math.max(px, -0.3 * view.scale); // not smaller than a box can be
        const to = { x: from.x + side * outwards, y: from.y + 33 };
        const handle = { kind: "face", right: side, up: 0 } as const;
        const after = dragged(box, handle, view, from, to, OPTIONS);
        const half = box.size_lwh_m[axis] / 2;
        expect(face(after, axis, -side, box)).toBeCloseTo(-side * half, 6);
        expect(face(after, axis, side, box)).toBeCloseTo(side * (half + outwards / view.scale), 6);
        expect(after.yaw_rad).toBe(box.yaw_rad);
      }),
    );
  });

  it("move the whole box by what the pointer moved", () => {
    fc.assert(
      fc.property(shape, plane, number(-90, 90), number(-90, 90), (box, view, dx, dy) => {
        const to = { x: 150 + dx, y: 90 + dy };
        const after = dragged(box, { kind: "move" }, view, { x: 150, y: 90 }, to, OPTIONS);
        const shift = toBox(box, after.center_xyz_m);
        expect(shift[view.axes[0]]).toBeCloseTo(dx / view.scale, 6);
        expect(shift[view.axes[1]]).toBeCloseTo(-dy / view.scale, 6);
        expect(after.size_lwh_m).toEqual(box.size_lwh_m);
      }),
    );
  });

  it("turn the box to where the knob is dragged, seen from above", () => {
    const box: Shape = { center_xyz_m: [0, 0, 0], size_lwh_m: [4, 2, 2], yaw_rad: 0.5 };
    const view: Plane = { axes: [0, 1], scale: 30, middle: { x: 100, y: 100 } };
    const from = knob(box, view);
    const after = dragged(box, { kind: "turn" }, view, from, { x: 100, y: 20 }, OPTIONS);
    expect(after.yaw_rad).toBeCloseTo(0.5 + Math.PI / 2, 9);
    const stepped = { ...OPTIONS, stepped: true };
    const snapped = dragged(box, { kind: "turn" }, view, from, { x: 103, y: 20 }, stepped);
    expect(((snapped.yaw_rad * 36) / Math.PI) % 1).toBeCloseTo(0, 9);
  });

  it("grow both ways when asked to, and never vanish", () => {
    const box: Shape = { center_xyz_m: [5, 5, 1], size_lwh_m: [4, 2, 2], yaw_rad: 1 };
    const view: Plane = { axes: [0, 2], scale: 10, middle: { x: 0, y: 0 } };
    const corner = { kind: "face", right: 1, up: 1 } as const;
    const symmetric = { ...OPTIONS, symmetric: true };
    const after = dragged(box, corner, view, { x: 0, y: 0 }, { x: 10, y: -5 }, symmetric);
    expect(after.size_lwh_m).toEqual([6, 2, 3]);
    expect(after.center_xyz_m).toEqual(box.center_xyz_m);
    const gone = dragged(box, corner, view, { x: 0, y: 0 }, { x: -999, y: 999 }, OPTIONS);
    expect(Math.min(...gone.size_lwh_m)).toBeGreaterThan(0);
  });

  it("are found where they are drawn", () => {
    fc.assert(
      fc.property(
        shape,
        plane,
        fc.constantFrom(-1, 0, 1),
        fc.constantFrom(-1, 0, 1),
        (box, view, right, up) => {
          const [x, y] = halfExtent(box, view);
          const at = { x: 150 + right * x, y: 90 - up * y };
          const turn = knob(box, view);
          fc.pre(Math.hypot(turn.x - at.x, turn.y - at.y) > 11);
          const found = handleAt(at, box, view);
          expect(found).toEqual(
            right === 0 && up === 0 ? { kind: "move" } : { kind: "face", right, up },
          );
          expect(handleAt(turn, box, view)).toEqual({ kind: "turn" });
        },
      ),
    );
  });
});
