/** Sweeps as they are needed: fetched, decoded in a worker, the frame on the screen first. */

import { Api } from "./core/api";
import { type Decoder, startDecoder } from "./core/decoder";
import { indexOf, type SweepIndex } from "./core/sweep-index";
import type { Clip, Points } from "./core/types";
import { PointCloud, type PointStyle } from "./scene/points";

const KEPT = 24;
const AHEAD = 3;
const AT_ONCE = 2;

/** A sweep that is here; beams and times follow a little later than coordinates. */
export interface Cloud {
  readonly frame: number;
  readonly xyz_m: Float32Array;
  readonly index: SweepIndex;
  readonly drawn: PointCloud;
}

export class Clouds {
  private readonly api = new Api();
  private readonly decoder: Decoder = startDecoder();
  private readonly here = new Map<number, Cloud>();
  private queue: number[] = [];
  private readonly running = new Set<number>();
  private waiting: { frame: number; resolve: (cloud: Cloud | null) => void }[] = [];
  /** Sweeps that could not be had, and why. */
  readonly failed = new Map<number, string>();

  constructor(
    private readonly clip: Clip,
    private readonly style: PointStyle,
    private readonly changed: (frame: number) => void,
  ) {}

  /** Return a sweep if it is here. */
  get(frame: number): Cloud | null {
    const cloud = this.here.get(frame);
    if (cloud === undefined) return null;
    this.here.delete(frame);
    this.here.set(frame, cloud); // the map is in order of use
    return cloud;
  }

  /** Return a sweep when it is here; null if it cannot be had. */
  load(frame: number): Promise<Cloud | null> {
    const cloud = this.get(frame);
    if (cloud !== null || this.failed.has(frame)) return Promise.resolve(cloud);
    const loaded = new Promise<Cloud | null>((resolve) => this.waiting.push({ frame, resolve }));
    if (!this.running.has(frame)) this.queue = [frame, ...this.queue.filter((f) => f !== frame)];
    this.pump();
    return loaded;
  }

  /** Have the sweep of the screen, then those around it; what was wanted before and is not now is dropped. */
  want(frame: number, around: number): void {
    const near = [frame];
    for (let i = 1; i <= Math.max(AHEAD, around); i++) {
      near.push(frame + i);
      if (i <= Math.max(1, around)) near.push(frame - i);
    }
    const asked = this.waiting.map((one) => one.frame);
    this.queue = [...new Set([...near.slice(0, 1), ...asked, ...near])].filter(
      (f) =>
        f >= 0 &&
        f < this.clip.frames.length &&
        !this.here.has(f) &&
        !this.running.has(f) &&
        !this.failed.has(f),
    );
    this.pump();
  }

  /** Share of the wanted sweeps that is here, 0 to 1. */
  get progress(): number {
    const missing = this.queue.length + this.running.size;
    return missing === 0 ? 1 : 1 / (1 + missing);
  }

  private pump(): void {
    while (this.running.size < AT_ONCE) {
      const frame = this.queue.shift();
      if (frame === undefined) return;
      this.running.add(frame);
      this.read(frame)
        .catch((error: unknown) =>
          this.failed.set(frame, String((error as Error).message ?? error)),
        )
        .finally(() => this.finished(frame));
    }
  }

  private async read(frame: number): Promise<void> {
    const bytes = await this.api.bytes(this.clip.frames[frame].points_url);
    const points = await this.decoder.decode(bytes, (first) => this.keep(frame, first));
    const cloud = this.here.get(frame);
    if (cloud === undefined || points.ring === null) return;
    cloud.drawn.setRing(points.ring);
  }

  private finished(frame: number): void {
    this.running.delete(frame);
    this.waiting = this.waiting.filter((one) => {
      if (one.frame === frame) one.resolve(this.here.get(frame) ?? null);
      return one.frame !== frame;
    });
    this.changed(frame);
    this.pump();
  }

  private keep(frame: number, points: Pick<Points, "count" | "xyz_m" | "intensity">): void {
    const drawn = new PointCloud(points, this.style);
    this.here.set(frame, { frame, xyz_m: points.xyz_m, index: indexOf(points), drawn });
    for (const [old, cloud] of this.here) {
      if (this.here.size <= KEPT) break;
      if (cloud.drawn.object.parent !== null) continue; // on the screen
      cloud.drawn.dispose();
      this.here.delete(old);
    }
    this.changed(frame);
  }
}
