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
  const cells = new Cells(index, standing, x, y, reachM, linkM / STEPS);
  const start = cells.nearest(x, y, linkM);
  if (start < 0) return [];
  const found: number[] = [];
  const queue = [start];
  const seen = new Set(queue);
  while (queue.length) {
    const cell = queue.pop()!;
    for (const i of cells.members.get(cell)!) found.push(i);
    for (const [dx, dy] of NEIGHBOURS) {
      const next = cell + dx * cells.side + dy;
      if (seen.has(next) || !cells.members.has(next)) continue;
      seen.add(next);
      queue.push(next);
    }
  }
  return found;
}

/** A link is this many cells long: then no pair of points has to be looked at. */
const STEPS = 3;

const NEIGHBOURS: readonly (readonly [number, number])[] = Array.from(
  { length: (2 * STEPS + 1) ** 2 },
  (_, k) => [Math.floor(k / (2 * STEPS + 1)) - STEPS, (k % (2 * STEPS + 1)) - STEPS] as const,
).filter(([dx, dy]) => (dx !== 0 || dy !== 0) && Math.hypot(dx, dy) <= STEPS);

/** Points by small square cells around a place. */
class Cells {
  readonly members = new Map<number, number[]>();
  readonly side: number;

  constructor(
    private readonly index: SweepIndex,
    points: readonly number[],
    x: number,
    y: number,
    reachM: number,
    cellM: number,
  ) {
    const { xyz_m } = index;
    this.side = Math.ceil((2 * reachM) / cellM) + 2 * STEPS + 1;
    for (const i of points) {
      const row = Math.floor((xyz_m[3 * i] - x + reachM) / cellM) + STEPS;
      const column = Math.floor((xyz_m[3 * i + 1] - y + reachM) / cellM) + STEPS;
      const cell = row * this.side + column;
      const there = this.members.get(cell);
      if (there) there.push(i);
      else this.members.set(cell, [i]);
    }
  }

  /** Return the cell of the point nearest to a place, -1 where there is none within a distance. */
  nearest(x: number, y: number, withinM: number): number {
    const { xyz_m } = this.index;
    let nearest = withinM * withinM;
    let found = -1;
    for (const [cell, members] of this.members)
      for (const i of members) {
        const squared = (xyz_m[3 * i] - x) ** 2 + (xyz_m[3 * i + 1] - y) ** 2;
        if (squared > nearest) continue;
        nearest = squared;
        found = cell;
      }
    return found;
  }
}
