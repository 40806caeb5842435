import * as fc from "fast-check";
import { Ray, Vector3 } from "three";
import { describe, expect, it } from "vitest";
import { pointsInBox } from "../src/core/geometry";
import { indexOf } from "../src/core/sweep-index";
import { countInside } from "../src/scene/inside";
import { rayHitsBox } from "../src/scene/pick";

const BOX = { center_xyz_m: [10, 0, 1], size_lwh_m: [4, 2, 2], yaw_rad: Math.PI / 2 } as const;
const from = (x: number, y: number, z: number, dx: number, dy: number, dz: number) =>
  new Ray(new Vector3(x, y, z), new Vector3(dx, dy, dz).normalize());

describe("a line of sight", () => {
  it("enters a box at its nearest face", () => {
    expect(rayHitsBox(from(0, 0, 1, 1, 0, 0), BOX)).toBeCloseTo(9); // turned: 2 m deep
    expect(rayHitsBox(from(10, 9, 1, 0, -1, 0), BOX)).toBeCloseTo(7);
    expect(rayHitsBox(from(10, 0, 1, 1, 0.2, 0.1), BOX)).toBe(0); // begins inside
  });

  it("misses what it does not meet or has left behind", () => {
    expect(rayHitsBox(from(0, 2.2, 1, 1, 0, 0), BOX)).toBeNull();
    expect(rayHitsBox(from(20, 0, 1, 1, 0, 0), BOX)).toBeNull();
  });
});

describe("points in a box", () => {
  it("are counted by cells as they are one by one", () => {
    const coordinate = fc.float({ min: -6, max: 6, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(coordinate, { minLength: 3, maxLength: 300 }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        (values, yaw_rad) => {
          const xyz_m = Float32Array.from(values.slice(0, 3 * Math.floor(values.length / 3)));
          const box = { center_xyz_m: [1, -1, 0.5], size_lwh_m: [5, 3, 2], yaw_rad } as const;
          const expected = pointsInBox(xyz_m, box).length;
          expect(countInside(indexOf({ xyz_m }), box)).toBe(expected);
        },
      ),
    );
  });
});
