/** One zstd frame that must declare exactly how many bytes it becomes. */
import { decompress } from "fzstd";
import { CodecError } from "./codec-error";

const MAGIC = 0xfd2fb528;
const LEAST_BLOCK = 4; // bytes that a block takes at least
const BLOCK_HOLDS = 1 << 17; // bytes that it may become

/**
 * Return the `raw` bytes of a frame.
 *
 * The announced size is checked before memory is taken for it: a forged frame costs no more than
 * its own length explains.
 *
 * @throws CodecError if the frame is damaged or becomes another number of bytes.
 */
export function unpack(stored: Uint8Array, raw: number, at: number): Uint8Array {
  const possible = Math.floor(stored.length / LEAST_BLOCK) * BLOCK_HOLDS;
  if (declaredSize(stored) !== raw || raw > possible) throw unequal(raw, at);
  let bytes: Uint8Array;
  try {
    bytes = decompress(stored, new Uint8Array(raw));
  } catch (error) {
    throw new CodecError(`stream at byte ${at}: ${String(error)}`);
  }
  if (bytes.length !== raw) throw unequal(raw, at);
  return bytes;
}

/** Return the size that a frame's header declares, -1 if there is none. RFC 8878, 3.1.1.1. */
function declaredSize(frame: Uint8Array): number {
  if (frame.length < 6) return -1;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint32(0, true) !== MAGIC) return -1;
  const descriptor = frame[4];
  const single = (descriptor >> 5) & 1;
  const kind = descriptor >> 6;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3];
  const size = kind === 0 ? single : 1 << kind;
  if (!size || at + size > frame.length) return -1;
  if (size === 1) return frame[at];
  if (size === 2) return view.getUint16(at, true) + 256;
  if (size === 4) return view.getUint32(at, true);
  return view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);
}

function unequal(raw: number, at: number): CodecError {
  return new CodecError(`stream at byte ${at} does not hold the ${raw} bytes it claims`);
}
