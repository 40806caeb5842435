/** A sweep's bytes are damaged, cut, or of a version that this reader does not know. */
export class CodecError extends Error {
  constructor(message: string) {
    super(`point codec: ${message}`);
    this.name = "CodecError";
  }
}
