/** The points of one object: grown from a point of it through neighbours that stand on the ground. */
import { type GroundPlane, groundAt } from "./ground";
import type { SweepIndex } from "./sweep-index";

export interface GrowOptions {
  /** Points are neighbours up to this distance, seen from above. */
  readonly linkM: number;
  /** Nothing farther from the start belongs to the object. */
  readonly reachM: number;
  /** Lower than this above the ground is ground. */
  readonly clearanceM: number;
  /** Higher than this above the ground is a bridge, a branch or a wire. */
  readonly ceilingM: number;
}

/**
 * Return the numbers of the points that hang together with the one at (x, y), seen from above.
 *
 * Empty where no point of an object is within `linkM` of the start.
 */
export function grow(
  index: SweepIndex,
  ground: GroundPlane,
  x: number,
  y: number,
  options: GrowOptions,
): number[] {
  const { linkM, reachM, clearanceM, ceilingM } = options;
  const { xyz_m } = index;
  const standing = index.near(x, y, reachM).filter((i) => {
    const above = xyz_m[3 * i + 2] - groundAt(ground, xyz_m[3 * i], xyz_m[3 * i + 1]);
    return above > clearanceM && above < ceilingM;
  });
  // cells of half the link: a neighbour lies in one of the 5 x 5 around
  const cellM = linkM / 2;
  const side = Math.ceil((2 * reachM) / cellM) + 5;
  const column = (value: number, middle: number) =>
    Math.floor((value - middle + reachM) / cellM) + 2;
  const cells = new Map<number, number[]>();
  for (const i of standing) {
    const cell = column(xyz_m[3 * i], x) * side + column(xyz_m[3 * i + 1], y);
    const members = cells.get(cell);
    if (members) members.push(i);
    else cells.set(cell, [i]);
  }
  const start = nearestCell(cells, xyz_m, x, y, linkM);
  if (start < 0) return [];
  const found: number[] = [];
  const queue = [start];
  const seen = new Set(queue);
  while (queue.length) {
    const cell = queue.pop()!;
    const members = cells.get(cell)!;
    for (const i of members) found.push(i);
    for (let dx = -2; dx <= 2; dx++)
      for (let dy = -2; dy <= 2; dy++) {
        const next = cell + dx * side + dy;
        const others = cells.get(next);
        if (!others || seen.has(next) || !linked(xyz_m, members, others, linkM)) continue;
        seen.add(next);
        queue.push(next);
      }
  }
  return found;
}

function nearestCell(
  cells: ReadonlyMap<number, readonly number[]>,
  xyz_m: Float32Array,
  x: number,
  y: number,
  withinM: number,
): number {
  let nearest = withinM * withinM;
  let found = -1;
  for (const [cell, members] of cells)
    for (const i of members) {
      const squared = (xyz_m[3 * i] - x) ** 2 + (xyz_m[3 * i + 1] - y) ** 2;
      if (squared > nearest) continue;
      nearest = squared;
      found = cell;
    }
  return found;
}

function linked(
  xyz_m: Float32Array,
  some: readonly number[],
  others: readonly number[],
  linkM: number,
): boolean {
  const squared = linkM * linkM;
  for (const i of some)
    for (const k of others) {
      const dx = xyz_m[3 * i] - xyz_m[3 * k];
      const dy = xyz_m[3 * i + 1] - xyz_m[3 * k + 1];
      if (dx * dx + dy * dy <= squared) return true;
    }
  return false;
}
