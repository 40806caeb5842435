/**
 * Reads one sweep in the Starloop point codec, versions 1 and 2 (docs/point-codec.md).
 *
 * Coordinates and intensities come first in the bytes and can be drawn while beams and times are
 * still being read: `SweepReader` gives them apart, `decodeSweep` everything at once.
 */
import { type Header, readEnvelope } from "./codec-envelope";
import { CodecError } from "./codec-error";
import { Fields } from "./codec-fields";
import type { Points } from "./types";

export { CodecError };

const INTENSITY_LEVELS = 255;

/** The parts of a sweep in the order in which they are stored; each is read once, in this order. */
export class SweepReader {
  readonly header: Header;
  private readonly fields: Fields;

  /**
   * @throws CodecError if the bytes are no sweep, damaged, cut or of an unknown version.
   */
  constructor(bytes: Uint8Array) {
    const { header, streams } = readEnvelope(bytes);
    this.header = header;
    this.fields = new Fields(bytes, streams, header.numPoints);
  }

  /** Return (3 N) coordinates, ego frame, and (N) intensities in [0, 1]. */
  readPoints(): Pick<Points, "xyz_m" | "intensity"> {
    const { numPoints, lossless, stepM } = this.header;
    const xyz_m = new Float32Array(3 * numPoints);
    const intensity = new Float32Array(numPoints);
    for (let axis = 0; axis < 3; axis++)
      if (lossless) this.fields.floats(xyz_m, axis, 3);
      else this.fields.coordinate(stepM, xyz_m, axis, 3);
    if (lossless) this.fields.floats(intensity, 0, 1);
    else {
      const level = this.fields.plane();
      for (let i = 0; i < numPoints; i++) intensity[i] = level[i] / INTENSITY_LEVELS;
    }
    return { xyz_m, intensity };
  }

  /** Return (N) beam numbers, or null, and (N) nanoseconds after the sweep's start. */
  readRest(): Pick<Points, "ring" | "offset_ns"> {
    const ring = this.header.hasRing ? Uint16Array.from(this.integers()) : null;
    return { ring, offset_ns: this.readTimes() };
  }

  private readTimes(): Int32Array {
    const { numPoints, hasTime, hasTable, timeStepNs } = this.header;
    if (!hasTime) return new Int32Array(numPoints);
    if (hasTable) {
      const table = this.fields.table();
      return this.integers().map((row) => {
        if (row >>> 0 >= table.length)
          throw new CodecError(`a time that is not among the ${table.length} of the table`);
        return table[row];
      });
    }
    const number = this.integers();
    const rest = this.integers();
    for (let i = 0; i < numPoints; i++) rest[i] += Math.imul(number[i], timeStepNs);
    return rest;
  }

  private integers(): Int32Array {
    return this.header.version === 1 ? this.fields.differences() : this.fields.integers();
  }
}

/**
 * Return the sweep encoded in the bytes.
 *
 * @throws CodecError if the bytes are damaged, cut, or of a version that this reader does not know.
 */
export function decodeSweep(bytes: Uint8Array): Points {
  const reader = new SweepReader(bytes);
  return { count: reader.header.numPoints, ...reader.readPoints(), ...reader.readRest() };
}
