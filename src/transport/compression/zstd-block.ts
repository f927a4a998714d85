/** What the parts of a Zstandard decoder share (RFC 8878). */
import { CorruptError } from "./errors.ts";
import type { FseTable } from "./fse.ts";
import type { HuffmanTable } from "./huffman.ts";

/** Most bytes a block decodes to. */
export const BLOCK_BYTES = 128 * 1024;

/** What a block leaves for the next one of its frame. */
export interface FrameState {
  /** Where the frame's content begins: matches reach no further back. */
  readonly start: number;
  huffman: HuffmanTable | undefined;
  literalLengths: FseTable | undefined;
  offsets: FseTable | undefined;
  matchLengths: FseTable | undefined;
  /** The last three offsets, the latest first. */
  readonly recent: [number, number, number];
}

/** An unsigned little-endian integer of `count` bytes, exact below 2^53. @throws CorruptError behind the end. */
export function little(bytes: Uint8Array, at: number, count: number): number {
  if (at + count > bytes.length) throw new CorruptError("unexpected EOF");
  let value = 0;
  for (let byte = count - 1; byte >= 0; byte--) value = value * 256 + (bytes[at + byte] as number);
  return value;
}
