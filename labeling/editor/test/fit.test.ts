import { describe, expect, test } from "vitest";
import { autoHeight, fitBox, snapToGround } from "../src/core/fit";
import { bevIou, pointsInBox, type Shape } from "../src/core/geometry";
import { findGround, groundAt } from "../src/core/ground";
import { headingHint } from "../src/core/heading";
import { fitRectangle } from "../src/core/lshape";
import { refit } from "../src/core/refit";
import { SweepIndex } from "../src/core/sweep-index";
import type { Vec3 } from "../src/core/types";
import { clickOn, errorsOf, TAXONOMY } from "./recordings";
import { scan } from "./shapes";
import { box, generator } from "./support";

function car(x: number, y: number, yaw_rad: number, ground = 0): Shape {
  return { center_xyz_m: [x, y, ground + 0.8], size_lwh_m: [4.5, 1.85, 1.6], yaw_rad };
}

const asPoints = (scanned: { xyz_m: Float32Array }) => ({
  ...scanned,
  count: scanned.xyz_m.length / 3,
  intensity: new Float32Array(0),
  ring: null,
  offset_ns: new Int32Array(0),
});

describe("a click on a car", () => {
  const places: [number, number, number][] = [];
  for (let k = 0; k < 12; k += 2)
    places.push([9 + k, -8 + 1.7 * k, -1.4 + 0.25 * k], [-12 - k, 6 - k, 0.9 - 0.2 * k]);

  test.each(places)("at %f, %f with heading %f is fitted", (x, y, yaw) => {
    const truth = car(x, y, yaw);
    const points = asPoints(scan([truth]));
    const click = clickOn(points, truth, generator(3))!;
    const fit = fitBox(points, click, { categories: TAXONOMY, category: "car", yawHint: yaw })!;
    const errors = errorsOf(fit.shape, truth);
    expect(errors.center_m).toBeLessThan(0.35);
    expect(errors.axis_deg).toBeLessThan(4);
    expect(errors.bottom_m).toBeLessThan(0.06);
    expect(bevIou(fit.shape, truth)).toBeGreaterThan(0.75);
  });

  test.each([
    [0.03, true],
    [0.17, false],
    [-0.2, false],
  ])("%f off the lane heads along it: %s", (off, along) => {
    const truth = car(10, 4, 0.6 + off);
    const points = asPoints(scan([truth]));
    const click = clickOn(points, truth, generator(5))!;
    const options = { categories: TAXONOMY, category: "car", yawHint: 0.6 };
    const { yaw_rad } = fitBox(points, click, options)!.shape;
    if (along) expect(yaw_rad).toBeCloseTo(0.6, 10);
    else expect(Math.abs(yaw_rad - truth.yaw_rad)).toBeLessThan(0.05); // its sides are seen well
  });

  test("the hidden part is added away from the sensor, to the usual length", () => {
    const truth: Shape = { center_xyz_m: [15, 0.2, 0.8], size_lwh_m: [4.6, 1.9, 1.6], yaw_rad: 0 };
    const points = asPoints(scan([truth])); // only the rear is seen
    const fit = fitBox(points, [12.7, 0.3, 1], { categories: TAXONOMY, category: "car" })!;
    expect(fit.shape.size_lwh_m[0]).toBeCloseTo(4.6, 1);
    expect(fit.shape.center_xyz_m[0]).toBeCloseTo(15, 0);
    expect(Math.abs(fit.shape.yaw_rad)).toBeLessThan(0.1);
  });

  test("on raised ground stands on it", () => {
    const truth = car(14, 4, 0.4, 0.7);
    const points = asPoints(scan([truth], { ground: 0.7 }));
    const click = clickOn(points, truth, generator(1))!;
    const fit = fitBox(points, click, { categories: TAXONOMY, category: "car" })!;
    expect(errorsOf(fit.shape, truth).bottom_m).toBeLessThan(0.06);
    expect(fit.shape.size_lwh_m[2]).toBeCloseTo(1.6, 0);
  });

  test("beside another car takes only the one that was clicked", () => {
    const [one, other] = [car(12, 3, 0.05), car(12, 0.2, 0)];
    const points = asPoints(scan([one, other]));
    const click = clickOn(points, one, generator(5))!;
    const fit = fitBox(points, click, { categories: TAXONOMY, category: "car" })!;
    expect(bevIou(fit.shape, one)).toBeGreaterThan(0.7);
    expect(bevIou(fit.shape, other)).toBe(0);
  });
});

test("without a class the size decides", () => {
  const person: Shape = { center_xyz_m: [8, 3, 0.88], size_lwh_m: [0.6, 0.6, 1.76], yaw_rad: 0 };
  const truck: Shape = { center_xyz_m: [14, -6, 1.5], size_lwh_m: [7.4, 2.5, 3], yaw_rad: 0.2 };
  const points = asPoints(scan([person, truck, car(9, -1, 0.5)]));
  const named = (shape: Shape) =>
    fitBox(points, clickOn(points, shape, generator(2))!, { categories: TAXONOMY })!.category;
  expect(named(person)).toBe("pedestrian");
  expect(named(truck)).toBe("truck");
  expect(named(car(9, -1, 0.5))).toBe("car");
});

test("a click on the bare road fits nothing", () => {
  const points = asPoints(scan([car(20, 5, 0)]));
  expect(fitBox(points, [6, -3, 0], { categories: TAXONOMY, category: "car" })).toBeNull();
  const nothing = asPoints({ xyz_m: new Float32Array(0) });
  expect(fitBox(nothing, [6, -3, 0], { categories: TAXONOMY })).toBeNull();
});

test("the lower end of a car is its front", () => {
  const body = (yaw: number): Shape[] => [
    { center_xyz_m: [3, 8, 0.5], size_lwh_m: [4.5, 1.85, 0.9], yaw_rad: yaw },
    {
      center_xyz_m: [3 - 0.9 * Math.cos(yaw), 8 - 0.9 * Math.sin(yaw), 0.8],
      size_lwh_m: [2.7, 1.8, 1.5],
      yaw_rad: yaw,
    },
  ];
  for (const yaw of [0.2, 0.2 - Math.PI]) {
    const points = asPoints(scan(body(yaw)));
    const click = clickOn(points, body(yaw)[0], generator(1))!;
    const fit = fitBox(points, click, { categories: TAXONOMY, category: "car" })!;
    expect(Math.cos(fit.shape.yaw_rad - yaw)).toBeGreaterThan(0.9);
  }
});

test("the heading of the lane is that of the nearest vehicle in it", () => {
  const boxes = [
    box({ center_xyz_m: [20, 0, 1], yaw_rad: 0.1 }),
    box({ center_xyz_m: [25, 5, 1], yaw_rad: 3.1 }),
    box({ center_xyz_m: [10, 5, 1], size_lwh_m: [0.7, 0.7, 1.7], yaw_rad: 1 }),
  ];
  expect(headingHint(boxes, 10, 5)).toBe(3.1);
  expect(headingHint(boxes, 35, 1)).toBe(0.1);
  expect(headingHint(boxes, 0, -30)).toBe(0);
});

test("the rectangle of an L is found at every angle", () => {
  for (let degrees = 0; degrees < 90; degrees += 7) {
    const theta = (degrees * Math.PI) / 180;
    const [c, s] = [Math.cos(theta), Math.sin(theta)];
    const xy: number[] = [];
    for (let k = 0; k <= 40; k++) {
      const [u, v] = k % 2 ? [k * 0.1, 0] : [0, k * 0.045];
      xy.push(20 + c * u - s * v, 5 + s * u + c * v);
    }
    const found = fitRectangle(new Float64Array(xy));
    const off = Math.abs(found.theta_rad - theta) % (Math.PI / 2);
    expect(Math.min(off, Math.PI / 2 - off)).toBeLessThan(0.02);
    const sides = [found.along, found.across].map(([low, high]) => high - low).sort();
    expect(sides[0]).toBeCloseTo(1.8, 1);
    expect(sides[1]).toBeCloseTo(3.9, 1);
  }
});

test("ground is found under roofs, and slopes", () => {
  const random = generator(9);
  const xyz: number[] = [];
  for (let k = 0; k < 4000; k++) {
    const [x, y] = [30 * random() - 15, 30 * random() - 15];
    const ground = 0.5 + 0.03 * x - 0.02 * y;
    xyz.push(x, y, ground + 0.01 * random());
    if (Math.abs(x) < 2 && Math.abs(y) < 1) xyz.push(x, y, ground + 1.5);
    if (x > 8) xyz.push(x, y, ground + 4 * random());
  }
  const plane = findGround(new SweepIndex(new Float32Array(xyz)), 0, 0)!;
  for (const [x, y] of [
    [0, 0],
    [4, -3],
    [-5, 2],
  ])
    expect(groundAt(plane, x, y)).toBeCloseTo(0.5 + 0.03 * x - 0.02 * y, 1);
  expect(findGround(new SweepIndex(new Float32Array(0)), 0, 0)).toBeNull();
});

test("a box is put on the ground, and from the ground to the roof", () => {
  const truth = car(13, -5, 0.7);
  const points = asPoints(scan([truth]));
  const floating: Shape = { ...truth, center_xyz_m: [13, -5, 2.5] };
  expect(snapToGround(points, floating).center_xyz_m[2]).toBeCloseTo(0.8, 1);
  const wrong: Shape = { ...truth, center_xyz_m: [13, -5, 1.4], size_lwh_m: [4.5, 1.85, 0.5] };
  const fitted = autoHeight(points, wrong);
  expect(Math.abs(fitted.size_lwh_m[2] - 1.6)).toBeLessThan(0.12);
  expect(Math.abs(fitted.center_xyz_m[2] - 0.8)).toBeLessThan(0.07);
});

test("cells give the same points as looking at every one", () => {
  const random = generator(4);
  const xyz = new Float32Array(3000).map(() => 20 * random() - 10);
  const index = new SweepIndex(xyz);
  for (const [x, y, radius] of [
    [0, 0, 3],
    [-9, 9, 2],
    [4.2, -1.1, 0.4],
  ]) {
    const expected: number[] = [];
    for (let i = 0; i < 1000; i++)
      if (Math.hypot(xyz[3 * i] - x, xyz[3 * i + 1] - y) <= radius) expected.push(i);
    expect(index.near(x, y, radius).sort((a, b) => a - b)).toEqual(expected);
  }
});

test("a guess beside the car is moved onto its points", () => {
  const random = generator(8);
  for (let k = 0; k < 12; k += 2) {
    const truth = car(10 + k, -6 + k, -1 + 0.3 * k);
    const points = asPoints(scan([truth], { seed: k + 1 }));
    const [x, y, z] = truth.center_xyz_m;
    const off: Vec3 = [x + random() - 0.5, y + random() - 0.5, z + 0.2];
    const guess = { ...truth, center_xyz_m: off, yaw_rad: truth.yaw_rad + 0.16 * (random() - 0.5) };
    const { shape } = refit(points, guess);
    expect(errorsOf(shape, truth).center_m).toBeLessThan(0.15);
    expect(errorsOf(shape, truth).yaw_deg).toBeLessThan(2.5);
    expect(shape.size_lwh_m).toEqual(truth.size_lwh_m);
    expect(pointsInBox(points.xyz_m, shape, 0.05).length).toBeGreaterThan(20);
  }
});

test("a guess without points near stays where it is", () => {
  const points = asPoints(scan([]));
  const guess = car(40, 30, 0.3);
  const { shape, num_points } = refit(points, guess);
  expect(num_points).toBeLessThan(5);
  expect(shape.center_xyz_m.slice(0, 2)).toEqual(guess.center_xyz_m.slice(0, 2));
  expect(shape.yaw_rad).toBe(guess.yaw_rad);
});
