/** How large things are in this clip: the usual size of a class, and what the person has boxed. */
import type { Box, Category, Document, Vec3 } from "./types";

/** So many boxes of the clip count as much as the usual size. */
const EQUAL = 2;

/**
 * Return the categories with the sizes of a clip.
 *
 * Cars of one town are alike, and people who draw wide draw the next box wide again.
 *
 * @param counts whether a box is the word of a person.
 */
export function sizesOfClip(
  categories: readonly Category[],
  document: Document,
  counts: (box: Box) => boolean,
): Category[] {
  const sizes = new Map<string, Vec3[]>();
  for (const { category, boxes } of document.tracks.values()) {
    const box = boxes.find((one) => one !== null && counts(one));
    if (box) sizes.set(category, [...(sizes.get(category) ?? []), box.size_lwh_m]);
  }
  return categories.map((category) => {
    const found = sizes.get(category.name) ?? [];
    if (!found.length) return category;
    const share = found.length / (found.length + EQUAL);
    const mixed = (axis: 0 | 1 | 2) => {
      const usual = category.default_size_lwh_m[axis];
      return usual + share * (middle(found.map((size) => size[axis])) - usual);
    };
    return { ...category, default_size_lwh_m: [mixed(0), mixed(1), mixed(2)] };
  });
}

function middle(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
