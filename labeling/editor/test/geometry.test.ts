import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { camerasOf, projectBox, projectPoint } from "../src/core/camera";
import {
  bevIou,
  corners,
  cornersBev,
  EDGES,
  iou3d,
  pointsInBox,
  type Shape,
  toBox,
} from "../src/core/geometry";
import { transformPoint, transformYaw, wrapAngle } from "../src/core/pose";
import type { Camera, Vec3 } from "../src/core/types";
import { golden } from "./support";

interface Columns {
  readonly center_xyz_m: Vec3[];
  readonly size_lwh_m: Vec3[];
  readonly yaw_rad: number[];
}

interface Golden {
  readonly boxes: Columns;
  readonly corners_bev_m: [number, number][][];
  readonly points: Vec3[];
  readonly inside: number[][];
  readonly bev_iou: number[][];
  readonly dst_SE3_src: number[];
  readonly moved: Columns;
}

const GOLDEN = golden<Golden>("geometry.json");
const SHAPES: Shape[] = GOLDEN.boxes.yaw_rad.map((yaw_rad, i) => ({
  center_xyz_m: GOLDEN.boxes.center_xyz_m[i],
  size_lwh_m: GOLDEN.boxes.size_lwh_m[i],
  yaw_rad,
}));

describe("as the Python code", () => {
  test("corners from above", () => {
    SHAPES.forEach((shape, i) => {
      cornersBev(shape).forEach((corner, k) => {
        expect(corner[0]).toBeCloseTo(GOLDEN.corners_bev_m[i][k][0], 9);
        expect(corner[1]).toBeCloseTo(GOLDEN.corners_bev_m[i][k][1], 9);
      });
    });
  });

  test("points inside", () => {
    const xyz = new Float32Array(GOLDEN.points.flat());
    SHAPES.forEach((shape, i) => {
      expect(pointsInBox(xyz, shape)).toEqual(GOLDEN.inside[i]);
    });
    expect(GOLDEN.inside.flat().length).toBeGreaterThan(50);
  });

  test("overlap from above", () => {
    SHAPES.forEach((a, i) => {
      SHAPES.forEach((b, k) => {
        expect(bevIou(a, b)).toBeCloseTo(GOLDEN.bev_iou[i][k], 9);
      });
    });
  });

  test("boxes in another frame", () => {
    SHAPES.forEach(({ center_xyz_m, yaw_rad }, i) => {
      const center = transformPoint(GOLDEN.dst_SE3_src, center_xyz_m);
      for (let k = 0; k < 3; k++) expect(center[k]).toBeCloseTo(GOLDEN.moved.center_xyz_m[i][k], 9);
      const yaw = transformYaw(GOLDEN.dst_SE3_src, yaw_rad);
      expect(wrapAngle(yaw - GOLDEN.moved.yaw_rad[i])).toBeCloseTo(0, 9);
    });
  });
});

const near = fc.double({ min: -5, max: 5, noNaN: true });
const side = fc.double({ min: 0.1, max: 6, noNaN: true });
const shapes: fc.Arbitrary<Shape> = fc
  .tuple(near, near, near, side, side, side, near)
  .map(([x, y, z, l, w, h, yaw_rad]) => ({
    center_xyz_m: [x, y, z],
    size_lwh_m: [l, w, h],
    yaw_rad,
  }));

test("overlap is symmetric, 1 with itself, 0 far away, the same after half a turn", () => {
  fc.assert(
    fc.property(shapes, shapes, (a, b) => {
      for (const iou of [bevIou, iou3d]) {
        expect(iou(a, b)).toBeCloseTo(iou(b, a), 9);
        expect(iou(a, b)).toBeGreaterThanOrEqual(0);
        expect(iou(a, b)).toBeLessThanOrEqual(1);
        expect(iou(a, a)).toBeCloseTo(1, 9);
        expect(iou(a, { ...a, yaw_rad: a.yaw_rad + Math.PI })).toBeCloseTo(1, 6);
        expect(iou(a, { ...a, center_xyz_m: [100, 0, 0] })).toBe(0);
      }
      expect(iou3d(a, b)).toBeLessThanOrEqual(bevIou(a, b) + 1e-9);
    }),
  );
});

test("corners lie at half the size in the axes of the box, and edges join neighbours", () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const [l, w, h] = shape.size_lwh_m;
      const all = corners(shape).map((corner) => toBox(shape, corner));
      for (const [x, y, z] of all) {
        expect(Math.abs(x)).toBeCloseTo(l / 2, 6);
        expect(Math.abs(y)).toBeCloseTo(w / 2, 6);
        expect(Math.abs(z)).toBeCloseTo(h / 2, 6);
      }
      expect(all.slice(0, 4).every(([x]) => x > 0)).toBe(true);
      for (const [a, b] of EDGES)
        expect(all[a].filter((v, i) => Math.abs(v - all[b][i]) > 1e-6)).toHaveLength(1);
    }),
  );
});

/** A camera at the ego origin, 1.5 m up, that looks forward. */
const CAMERA: Camera = {
  camera: "front",
  url: "",
  width: 1000,
  height: 600,
  K: [500, 0, 500, 0, 500, 300, 0, 0, 1],
  camera_SE3_ego: [0, -1, 0, 0, 0, 0, -1, 1.5, 1, 0, 0, 0, 0, 0, 0, 1],
};

describe("in a camera image", () => {
  test("a point ahead on the left lies left of the middle", () => {
    const { pixel, depth_m } = projectPoint(CAMERA, [10, 2, 1.5]);
    expect(depth_m).toBeCloseTo(10, 9);
    expect(pixel[0]).toBeCloseTo(400, 9);
    expect(pixel[1]).toBeCloseTo(300, 9);
  });

  test("a box ahead is 12 lines, one behind is none, one beside is cut at the image plane", () => {
    const ahead: Shape = { center_xyz_m: [10, 0, 1], size_lwh_m: [4, 2, 1.5], yaw_rad: 0 };
    expect(projectBox(CAMERA, ahead)).toHaveLength(12);
    expect(projectBox(CAMERA, ahead).filter(({ front }) => front)).toHaveLength(4);
    expect(projectBox(CAMERA, { ...ahead, center_xyz_m: [-10, 0, 1] })).toHaveLength(0);
    const beside = projectBox(CAMERA, { ...ahead, center_xyz_m: [1, 2, 1] });
    expect(beside.length).toBeGreaterThan(0);
    for (const { from, to } of beside)
      for (const value of [...from, ...to]) expect(Number.isFinite(value)).toBe(true);
  });

  test("the camera that sees a box most in the middle comes first", () => {
    const turned: Camera = {
      ...CAMERA,
      camera: "front left",
      camera_SE3_ego: [
        Math.SQRT1_2,
        -Math.SQRT1_2,
        0,
        0,
        0,
        0,
        -1,
        1.5,
        Math.SQRT1_2,
        Math.SQRT1_2,
        0,
        0,
        0,
        0,
        0,
        1,
      ],
    };
    const box: Shape = { center_xyz_m: [10, 8, 1], size_lwh_m: [4, 2, 1.5], yaw_rad: 0 };
    const names = camerasOf([CAMERA, turned], box).map(({ camera }) => camera);
    expect(names).toEqual(["front left", "front"]);
    expect(camerasOf([CAMERA], { ...box, center_xyz_m: [-10, 0, 1] })).toEqual([]);
  });
});
