import { expect, test } from "vitest";
import { documentOf } from "../src/core/document";
import type { Vec3 } from "../src/core/types";
import { sizesOfClip } from "../src/core/usual";
import { box, CATEGORIES } from "./support";

const [CAR, , PEDESTRIAN] = CATEGORIES;
const sized = (track_id: string, size_lwh_m: Vec3, origin: "manual" | "prediction" = "manual") =>
  box({ track_id, size_lwh_m, origin });

test("the more a person has boxed, the more it counts, and one that is unlike hardly does", () => {
  const lengths = [4.0, 4.0, 4.0, 9.0, 4.0, 4.0].map((length, i) =>
    sized(`${i}`, [length, 1.7, 1.5]),
  );
  const usual = (count: number) =>
    sizesOfClip(CATEGORIES, documentOf(lengths.slice(0, count), 1), () => true)[0]
      .default_size_lwh_m[0];
  expect(usual(0)).toBe(CAR.default_size_lwh_m[0]);
  expect(usual(2)).toBeCloseTo((CAR.default_size_lwh_m[0] + 4.0) / 2);
  expect(usual(6)).toBeCloseTo(4.0 + (CAR.default_size_lwh_m[0] - 4.0) / 4);
});

test("prelabels that nobody looked at and other classes say nothing", () => {
  const document = documentOf([sized("1", [4, 1.7, 1.5], "prediction")], 1);
  const found = sizesOfClip(CATEGORIES, document, ({ origin }) => origin !== "prediction");
  expect(found[0]).toBe(CAR);
  expect(sizesOfClip(CATEGORIES, document, () => true)[2]).toBe(PEDESTRIAN);
});
