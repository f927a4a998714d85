/** Length-prefixed messages: one byte "compressed", four bytes length (big-endian), then the message (grpc/doc/PROTOCOL-HTTP2.md). */
import { GrpcCode, GrpcError } from "./status.ts";

/** Bytes in front of a message. */
export const PREFIX_LENGTH = 5;

/** A success without fields: an uncompressed message of no bytes. Never written to. */
export const EMPTY_MESSAGE = Buffer.alloc(PREFIX_LENGTH);

/** Puts the prefix of an uncompressed message in front of `message`. */
export function frame(message: Uint8Array): Buffer {
  if (message.length === 0) return EMPTY_MESSAGE;
  const out = Buffer.allocUnsafe(PREFIX_LENGTH + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  out.set(message, PREFIX_LENGTH);
  return out;
}

/**
 * Collects the one message of a unary request from the chunks of a stream. A message that comes in one chunk is handed
 * on without a copy. The length is judged before its bytes are waited for.
 */
export class MessageReader {
  /** True when the message came compressed; meaningful once `push` has returned a message. */
  compressed = false;
  readonly #limit: number;
  #chunks: Uint8Array[] | undefined;
  #have = 0;
  /** Prefix included; undefined until the prefix is there. */
  #need: number | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held for a message that is not complete. */
  get held(): number {
    return this.#have;
  }

  /**
   * Takes a chunk. @returns the message when it is complete; bytes behind it are ignored, as grpc-go does.
   * @throws GrpcError when the message is larger than the limit or its prefix is not one.
   */
  push(chunk: Uint8Array): Uint8Array | undefined {
    if (this.#chunks === undefined && chunk.length >= PREFIX_LENGTH) {
      const need = this.#judge(chunk);
      if (chunk.length >= need) return chunk.subarray(PREFIX_LENGTH, need);
      this.#need = need;
    }
    this.#chunks ??= [];
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    if (this.#need === undefined && this.#have >= PREFIX_LENGTH) {
      const joined = Buffer.concat(this.#chunks);
      this.#chunks = [joined];
      this.#need = this.#judge(joined);
    }
    if (this.#need === undefined || this.#have < this.#need) return undefined;
    const [only] = this.#chunks;
    const whole = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks, this.#have);
    this.#chunks = undefined;
    return whole.subarray(PREFIX_LENGTH, this.#need);
  }

  /** What to answer when the stream ended before the message did. */
  ended(): GrpcError {
    const found = this.#need === undefined ? `${this.#have} of 5 prefix bytes` : `${this.#have} of ${this.#need} bytes`;
    return new GrpcError(GrpcCode.INTERNAL, `unexpected EOF: the request ended after ${found}`);
  }

  #judge(chunk: Uint8Array): number {
    const flag = chunk[0] as number;
    if (flag > 1) throw new GrpcError(GrpcCode.INTERNAL, `grpc: received unexpected payload format ${flag}`);
    this.compressed = flag === 1;
    const length =
      (chunk[1] as number) * 0x1000000 +
      (((chunk[2] as number) << 16) | ((chunk[3] as number) << 8) | (chunk[4] as number));
    if (length > this.#limit)
      throw new GrpcError(
        GrpcCode.RESOURCE_EXHAUSTED,
        `grpc: received message larger than max (${length} vs. ${this.#limit})`,
      );
    return PREFIX_LENGTH + length;
  }
}
