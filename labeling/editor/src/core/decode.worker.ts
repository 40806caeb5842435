/** Decodes sweeps off the page's thread: points as soon as they are read, then beams and times. */
import { SweepReader } from "./codec";
import type { Points } from "./types";

export interface DecodeRequest {
  readonly id: number;
  readonly bytes: Uint8Array;
}

export type DecodeReply =
  | ({ readonly id: number; readonly kind: "points" } & Pick<
      Points,
      "count" | "xyz_m" | "intensity"
    >)
  | ({ readonly id: number; readonly kind: "rest" } & Pick<Points, "ring" | "offset_ns">)
  | { readonly id: number; readonly kind: "error"; readonly message: string };

function reply(message: DecodeReply, transfer: Transferable[]): void {
  self.postMessage(message, { transfer });
}

self.onmessage = ({ data: { id, bytes } }: MessageEvent<DecodeRequest>) => {
  try {
    const reader = new SweepReader(bytes);
    const points = reader.readPoints();
    const count = reader.header.numPoints;
    reply({ id, kind: "points", count, ...points }, [points.xyz_m.buffer, points.intensity.buffer]);
    const rest = reader.readRest();
    const buffers = rest.ring ? [rest.ring.buffer] : [];
    reply({ id, kind: "rest", ...rest }, [rest.offset_ns.buffer, ...buffers]);
  } catch (error) {
    reply(
      { id, kind: "error", message: error instanceof Error ? error.message : String(error) },
      [],
    );
  }
};
