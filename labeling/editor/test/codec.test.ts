import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CodecError, decodeSweep, SweepReader } from "../src/core/codec";
import { crc32 } from "../src/core/codec-envelope";
import { fromBase64, golden } from "./support";

interface Case {
  readonly bytes: string;
  readonly num_points: number;
  readonly xyz_m: string;
  readonly intensity: string;
  readonly ring: string | null;
  readonly offset_ns: string;
}

const CASES = golden<Record<string, Case>>("codec.json");

/** Return the bytes of an array, to compare bit by bit. */
function raw(array: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number }): Buffer {
  return Buffer.from(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
}

function sealed(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(copy.length - 4, crc32(copy.subarray(0, -4)), true);
  return copy;
}

describe.each(Object.entries(CASES))("a sweep of kind %s", (_, expected) => {
  test("is what the Python code reads, bit by bit", () => {
    const sweep = decodeSweep(fromBase64(expected.bytes));
    expect(sweep.count).toBe(expected.num_points);
    expect(raw(sweep.xyz_m).toString("base64")).toBe(expected.xyz_m);
    expect(raw(sweep.intensity).toString("base64")).toBe(expected.intensity);
    expect(sweep.ring && raw(sweep.ring).toString("base64")).toBe(expected.ring);
    expect(raw(sweep.offset_ns).toString("base64")).toBe(expected.offset_ns);
  });

  test("is read where it lies in a larger buffer", () => {
    const bytes = fromBase64(expected.bytes);
    const larger = new Uint8Array(bytes.length + 7);
    larger.set(bytes, 3);
    const sweep = decodeSweep(larger.subarray(3, 3 + bytes.length));
    expect(raw(sweep.xyz_m).toString("base64")).toBe(expected.xyz_m);
  });
});

test("every kind of the format is among the cases", () => {
  const headers = Object.values(CASES).map(
    ({ bytes }) => new SweepReader(fromBase64(bytes)).header,
  );
  expect(new Set(headers.map(({ version }) => version))).toEqual(new Set([1, 2]));
  expect(headers.some(({ hasTable }) => hasTable)).toBe(true);
  expect(headers.some(({ hasTime, hasTable }) => hasTime && !hasTable)).toBe(true);
  expect(headers.some(({ hasRing }) => !hasRing)).toBe(true);
  expect(headers.some(({ lossless }) => lossless)).toBe(true);
});

describe("what is refused", () => {
  const bytes = fromBase64(CASES.columns.bytes);
  const edited = (at: number, value: number) => {
    const copy = bytes.slice();
    copy[at] = value;
    return sealed(copy);
  };

  test.each([
    ["bytes of something else", new TextEncoder().encode("x".repeat(40)), /do not begin with SLPC/],
    ["nothing", new Uint8Array(0), /0 bytes/],
    ["a version of the future", edited(4, 3), /version 3/],
    ["unknown flags", edited(5, 64), /header that cannot be/],
    ["a table of times without times", edited(5, 8), /header that cannot be/],
    ["a number of streams that the flags do not ask for", edited(6, 5), /header that cannot be/],
    ["a sweep that was cut", bytes.subarray(0, bytes.length - 20), /checksum/],
    ["a sweep with another number of points", edited(8, 200), /point codec/],
    ["a step that is no number", edited(19, 0xff), /header that cannot be|step/],
  ])("%s", (_, damaged, message) => {
    expect(() => decodeSweep(damaged)).toThrow(CodecError);
    expect(() => decodeSweep(damaged)).toThrow(message);
  });

  test("any byte that flipped", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: bytes.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, flip) => {
          const damaged = bytes.slice();
          damaged[at] ^= flip;
          expect(() => decodeSweep(damaged)).toThrow(CodecError);
        },
      ),
    );
  });

  test("forged bytes with a right checksum: an error of ours or a sweep, nothing else", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(CASES)),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        (chosen, changes) => {
          const forged = fromBase64(chosen.bytes);
          for (const [at, value] of changes) forged[at % forged.length] = value;
          try {
            decodeSweep(sealed(forged));
          } catch (error) {
            expect(error).toBeInstanceOf(CodecError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

test("the checksum is that of zlib", () => {
  expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
});
