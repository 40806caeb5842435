import fc from "fast-check";
import { expect, test } from "vitest";
import {
  compose,
  fromYaw,
  IDENTITY,
  inverse,
  transformPoint,
  transformPoints,
  transformYaw,
  wrapAngle,
} from "../src/core/pose";
import { angles as angle, golden, points as point, transforms } from "./support";

test("angles stay the same direction and end in (-pi, pi]", () => {
  fc.assert(
    fc.property(angle, (a) => {
      const wrapped = wrapAngle(a);
      expect(wrapped).toBeGreaterThan(-Math.PI);
      expect(wrapped).toBeLessThanOrEqual(Math.PI);
      expect(Math.cos(wrapped - a)).toBeCloseTo(1, 9);
    }),
  );
  expect(wrapAngle(-Math.PI)).toBe(Math.PI);
  expect(wrapAngle(Math.PI)).toBe(Math.PI);
});

test("the inverse undoes the transform", () => {
  fc.assert(
    fc.property(transforms, point, (t, p) => {
      const back = transformPoint(inverse(t), transformPoint(t, p));
      for (let i = 0; i < 3; i++) expect(back[i]).toBeCloseTo(p[i], 6);
      const same = compose(t, inverse(t));
      for (let i = 0; i < 16; i++) expect(same[i]).toBeCloseTo(IDENTITY[i], 6);
    }),
  );
});

test("composing is applying one after the other", () => {
  fc.assert(
    fc.property(transforms, transforms, point, (a, b, p) => {
      const once = transformPoint(compose(a, b), p);
      const twice = transformPoint(a, transformPoint(b, p));
      for (let i = 0; i < 3; i++) expect(once[i]).toBeCloseTo(twice[i], 6);
    }),
  );
});

test("many points move as one does", () => {
  const t = fromYaw(0.3, [10, -2, 0.5]);
  const points = new Float32Array([1, 2, 3, -4, 5, -6]);
  const moved = transformPoints(t, points);
  for (let i = 0; i < 6; i += 3) {
    const one = transformPoint(t, [points[i], points[i + 1], points[i + 2]]);
    for (let k = 0; k < 3; k++) expect(moved[i + k]).toBeCloseTo(one[k], 5);
  }
});

test("a heading turns with its frame", () => {
  expect(transformYaw(fromYaw(0.5, [3, 4, 5]), 0.25)).toBeCloseTo(0.75, 12);
});

test("angles wrap as in the Python code", () => {
  const { angles_rad, wrapped_rad } = golden<Record<string, number[]>>("geometry.json");
  angles_rad.forEach((a, i) => {
    expect(wrapAngle(a)).toBeCloseTo(wrapped_rad[i], 12);
  });
});
