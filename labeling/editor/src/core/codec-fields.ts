/** The fields of an encoded sweep as streams of bytes, see *Streams* in docs/point-codec.md. */
import type { Stream } from "./codec-envelope";
import { CodecError } from "./codec-error";
import { unpack } from "./zstd";

const ESCAPE = 0xffff;

/** Low bytes, high bytes and escapes of differences. */
interface Planes {
  readonly low: Uint8Array;
  readonly high: Uint8Array;
  readonly escapes: Uint32Array;
}

/** Unpacks and reads the streams of one sweep in their order. */
export class Fields {
  private next = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly streams: readonly Stream[],
    private readonly numPoints: number,
  ) {}

  /** Return the next stream: one byte a point. */
  plane(): Uint8Array {
    const plane = this.stream();
    if (plane.length !== this.numPoints)
      throw new CodecError(`plane of ${plane.length} for ${this.numPoints} points`);
    return plane;
  }

  /** Write the next coordinate, `stride` apart, in meters: float32 of steps times `stepM`. */
  coordinate(stepM: number, out: Float32Array, offset: number, stride: number): void {
    const low = this.plane();
    const high = this.plane();
    const escapes = this.words();
    let value = 0;
    let escaped = 0;
    for (let i = 0, to = offset; i < low.length; i++, to += stride) {
      let u = low[i] | (high[i] << 8);
      if (u === ESCAPE) u = escapes[escaped++]; // undefined beyond the end becomes 0 below
      value = (value + ((u >>> 1) ^ -(u & 1))) | 0;
      out[to] = value * stepM;
    }
    if (escaped !== escapes.length) throw escapesDiffer();
  }

  /** Write (N) 32-bit floats of the next four byte planes, `stride` apart. */
  floats(out: Float32Array, offset: number, stride: number): void {
    const [a, b, c, d] = [this.plane(), this.plane(), this.plane(), this.plane()];
    const word = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0, to = offset; i < a.length; i++, to += stride)
      word[to] = a[i] | (b[i] << 8) | (c[i] << 16) | (d[i] << 24);
  }

  /** Return the (N) integers of the next field, modulo 2^32. */
  differences(): Int32Array {
    const values = this.table();
    if (values.length !== this.numPoints)
      throw new CodecError(`${values.length} values for ${this.numPoints} points`);
    return values;
  }

  /** Return the integers of the next field, as many as it holds, modulo 2^32. */
  table(): Int32Array {
    return sumUp(unzigzag(this.planes()));
  }

  /** Return the (N) integers of the next field that is either sparse or not (version 2). */
  integers(): Int32Array {
    const common = this.words();
    const positions = this.table();
    const deltas = unzigzag(this.planes());
    const expected = common.length ? positions.length : this.numPoints;
    if (common.length > 1 || deltas.length !== expected || (!common.length && positions.length))
      throw new CodecError("differences and their positions do not fit");
    if (!common.length) return sumUp(deltas);
    const every = new Int32Array(this.numPoints).fill(common[0]);
    let last = -1;
    for (let i = 0; i < positions.length; i++) {
      const position = positions[i] >>> 0;
      if (position <= last || position >= this.numPoints)
        throw new CodecError("positions that do not increase or are not inside");
      every[position] = deltas[i];
      last = position;
    }
    return sumUp(every);
  }

  private planes(): Planes {
    const low = this.stream();
    const high = this.stream();
    if (low.length !== high.length || low.length > this.numPoints)
      throw new CodecError(`planes of ${low.length} and ${high.length} bytes`);
    return { low, high, escapes: this.words() };
  }

  private words(): Uint32Array {
    const bytes = this.stream();
    if (bytes.length % 4)
      throw new CodecError(`stream of ${bytes.length} bytes, not a multiple of 4`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
  }

  private stream(): Uint8Array {
    const { at, stored, raw } = this.streams[this.next++];
    if (!raw) return new Uint8Array(0);
    return unpack(this.bytes.subarray(at, at + stored), raw, at);
  }
}

function unzigzag({ low, high, escapes }: Planes): Int32Array {
  const values = new Int32Array(low.length);
  let escaped = 0;
  for (let i = 0; i < low.length; i++) {
    let u = low[i] | (high[i] << 8);
    if (u === ESCAPE) u = escapes[escaped++];
    values[i] = (u >>> 1) ^ -(u & 1);
  }
  if (escaped !== escapes.length) throw escapesDiffer();
  return values;
}

/** Replace differences by their sums, modulo 2^32. */
function sumUp(deltas: Int32Array): Int32Array {
  for (let i = 1; i < deltas.length; i++) deltas[i] += deltas[i - 1];
  return deltas;
}

function escapesDiffer(): CodecError {
  return new CodecError("number of escapes differs from the number of marks");
}
