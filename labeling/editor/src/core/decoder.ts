/** The page's side of `decode.worker.ts`. */
import { CodecError } from "./codec-error";
import type { DecodeReply, DecodeRequest } from "./decode.worker";
import type { Points } from "./types";

type FirstPoints = Pick<Points, "count" | "xyz_m" | "intensity">;

interface Waiting {
  readonly onPoints: ((points: FirstPoints) => void) | undefined;
  readonly resolve: (points: Points) => void;
  readonly reject: (error: Error) => void;
  first: FirstPoints | null;
}

/** Decodes sweeps in one worker, in the order in which they are asked for. */
export class Decoder {
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;

  /** @param worker usually `startDecoder()`. */
  constructor(private readonly worker: Worker) {
    worker.onmessage = ({ data }: MessageEvent<DecodeReply>) => this.receive(data);
    worker.onerror = (event) => this.fail(event.message);
  }

  /**
   * Return the sweep of the bytes, which are handed over to the worker and empty afterwards.
   *
   * @param onPoints called with coordinates and intensities before the rest is read.
   * @throws CodecError if the bytes are no sweep or damaged.
   */
  decode(bytes: Uint8Array, onPoints?: (points: FirstPoints) => void): Promise<Points> {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { onPoints, resolve, reject, first: null });
      this.worker.postMessage({ id, bytes } satisfies DecodeRequest, [bytes.buffer as ArrayBuffer]);
    });
  }

  /** Stop the worker; what is still waiting fails. */
  close(): void {
    this.worker.terminate();
    this.fail("closed");
  }

  private receive(data: DecodeReply): void {
    const waiting = this.waiting.get(data.id);
    if (!waiting) return;
    if (data.kind === "points") {
      waiting.first = { count: data.count, xyz_m: data.xyz_m, intensity: data.intensity };
      waiting.onPoints?.(waiting.first);
      return;
    }
    this.waiting.delete(data.id);
    if (data.kind === "error") waiting.reject(new CodecError(data.message));
    else if (waiting.first)
      waiting.resolve({ ...waiting.first, ring: data.ring, offset_ns: data.offset_ns });
  }

  private fail(message: string): void {
    for (const { reject } of this.waiting.values()) reject(new CodecError(message));
    this.waiting.clear();
  }
}

/** Return a decoder with a worker of its own. */
export function startDecoder(): Decoder {
  return new Decoder(
    new Worker(new URL("./decode.worker.ts", import.meta.url), { type: "module" }),
  );
}
