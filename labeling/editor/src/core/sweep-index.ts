/** Points of a sweep by square cells seen from above, so that those near a place are found at once. */
import type { Points } from "./types";

const CELL_M = 0.5;
const REACH_M = 150;
const SIDE = Math.ceil((2 * REACH_M) / CELL_M);

export class SweepIndex {
  /** Numbers of the points, cell after cell. */
  private readonly order: Uint32Array;
  private readonly starts: Uint32Array;

  /** @param xyz_m (3 N) points; those farther than 150 m are not found. */
  constructor(readonly xyz_m: Float32Array) {
    const count = xyz_m.length / 3;
    const cells = new Int32Array(count);
    const starts = new Uint32Array(SIDE * SIDE + 1);
    for (let i = 0; i < count; i++) {
      const cell = cellOf(xyz_m[3 * i], xyz_m[3 * i + 1]);
      cells[i] = cell;
      if (cell >= 0) starts[cell + 1]++;
    }
    for (let cell = 0; cell < SIDE * SIDE; cell++) starts[cell + 1] += starts[cell];
    const next = starts.slice();
    this.order = new Uint32Array(starts[SIDE * SIDE]);
    for (let i = 0; i < count; i++) if (cells[i] >= 0) this.order[next[cells[i]]++] = i;
    this.starts = starts;
  }

  /** Return the numbers of the points at most `radiusM` from a place, seen from above. */
  near(x: number, y: number, radiusM: number): number[] {
    const found: number[] = [];
    const squared = radiusM * radiusM;
    const [low, high] = [column(x - radiusM), column(x + radiusM)];
    const [left, right] = [column(y - radiusM), column(y + radiusM)];
    for (let cx = low; cx <= high; cx++) {
      const from = this.starts[cx * SIDE + left];
      const to = this.starts[cx * SIDE + right + 1];
      for (let k = from; k < to; k++) {
        const i = this.order[k];
        const dx = this.xyz_m[3 * i] - x;
        const dy = this.xyz_m[3 * i + 1] - y;
        if (dx * dx + dy * dy <= squared) found.push(i);
      }
    }
    return found;
  }
}

const made = new WeakMap<Float32Array, SweepIndex>();

/** Return the index of a sweep, made once. */
export function indexOf({ xyz_m }: Pick<Points, "xyz_m">): SweepIndex {
  let index = made.get(xyz_m);
  if (!index) {
    index = new SweepIndex(xyz_m);
    made.set(xyz_m, index);
  }
  return index;
}

function column(value: number): number {
  return Math.max(0, Math.min(SIDE - 1, Math.floor((value + REACH_M) / CELL_M)));
}

function cellOf(x: number, y: number): number {
  if (!(Math.abs(x) < REACH_M && Math.abs(y) < REACH_M)) return -1;
  return column(x) * SIDE + column(y);
}
