/**
 * The envelope of an encoded sweep: header, directory of streams, checksum.
 *
 * Byte layout and what is refused: docs/point-codec.md. Believes no number in the bytes that does
 * not fit the others.
 */
import { CodecError } from "./codec-error";

const MAGIC = 0x43504c53; // "SLPC", little-endian
const VERSIONS = [1, 2];
const [LOSSLESS, HAS_RING, HAS_TIME, TIME_TABLE] = [1, 2, 4, 8];
const MAX_POINTS = 2 ** 26;
const HEADER_BYTES = 24;
const STREAM_BYTES = 8;
const CRC_BYTES = 4;

export interface Header {
  readonly version: number;
  readonly lossless: boolean;
  readonly hasRing: boolean;
  readonly hasTime: boolean;
  /** Whether times are rows of a table of distinct times. */
  readonly hasTable: boolean;
  readonly numPoints: number;
  readonly stepM: number;
  readonly timeStepNs: number;
}

/** One compressed stream in the bytes of the sweep. */
export interface Stream {
  readonly at: number;
  readonly stored: number;
  readonly raw: number;
}

/**
 * Check the envelope; return the header and where its streams are.
 *
 * @throws CodecError if anything in it does not fit.
 */
export function readEnvelope(bytes: Uint8Array): { header: Header; streams: Stream[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES + CRC_BYTES || view.getUint32(0, true) !== MAGIC)
    throw new CodecError(`${bytes.length} bytes that do not begin with SLPC`);
  const version = bytes[4];
  if (!VERSIONS.includes(version))
    throw new CodecError(`version ${version}; this reader knows ${VERSIONS.join(" and ")}`);
  const end = bytes.length - CRC_BYTES;
  if (view.getUint32(end, true) !== crc32(bytes.subarray(0, end)))
    throw new CodecError(`checksum of ${bytes.length} bytes is wrong: damaged or cut`);
  const flags = bytes[5];
  const numStreams = view.getUint16(6, true);
  const header: Header = {
    version,
    lossless: (flags & LOSSLESS) > 0,
    hasRing: (flags & HAS_RING) > 0,
    hasTime: (flags & HAS_TIME) > 0,
    hasTable: (flags & TIME_TABLE) > 0,
    numPoints: view.getUint32(8, true),
    stepM: view.getFloat64(12, true),
    timeStepNs: view.getUint32(20, true),
  };
  const start = HEADER_BYTES + STREAM_BYTES * numStreams;
  const known = LOSSLESS | HAS_RING | HAS_TIME | (version > 1 ? TIME_TABLE : 0);
  const makesSense =
    (flags & ~known) === 0 &&
    (header.hasTime || !header.hasTable) &&
    start <= end &&
    numStreams === expectedStreams(header) &&
    header.numPoints <= MAX_POINTS &&
    Number.isFinite(header.stepM) &&
    header.stepM > 0;
  if (!makesSense)
    throw new CodecError(
      `a header that cannot be: flags ${flags}, ${numStreams} streams, ` +
        `${header.numPoints} points, step ${header.stepM} m`,
    );
  return { header, streams: readDirectory(view, header, numStreams, end) };
}

/** Return how many streams the flags ask for. */
function expectedStreams(header: Header): number {
  const points = header.lossless ? 16 : 10;
  const integers = header.version === 1 ? 3 : 7;
  const times = header.hasTable ? 3 + integers : 2 * integers;
  return points + (header.hasRing ? integers : 0) + (header.hasTime ? times : 0);
}

function readDirectory(view: DataView, header: Header, count: number, end: number): Stream[] {
  const streams: Stream[] = [];
  let at = HEADER_BYTES + STREAM_BYTES * count;
  for (let i = 0; i < count; i++) {
    const raw = view.getUint32(HEADER_BYTES + STREAM_BYTES * i, true);
    const stored = view.getUint32(HEADER_BYTES + STREAM_BYTES * i + 4, true);
    // an empty sweep names a usual difference too
    if (raw > 4 * Math.max(header.numPoints, 1))
      throw new CodecError(`a stream of ${raw} bytes at byte ${at} is too large`);
    streams.push({ at, stored, raw });
    at += stored;
  }
  if (at !== end) throw new CodecError("stream sizes do not add up to the length of the bytes");
  return streams;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** Return the CRC-32 of zlib. */
export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = CRC_TABLE[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}
