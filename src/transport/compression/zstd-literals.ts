/** The literals section of a Zstandard block (RFC 8878, section 3.1.1.3.1). */
import { CorruptError } from "./errors.ts";
import { decodeHuffman, type HuffmanTable, readHuffmanTable } from "./huffman.ts";
import { BLOCK_BYTES, type FrameState, little } from "./zstd-block.ts";

/** Decoded literals of one block. Shared: no decoder is set aside within a block. */
const literals = new Uint8Array(BLOCK_BYTES);

/** Where a block's literals are: in the input when they are stored, else in `literals`. */
export interface Literals {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly count: number;
  /** Where the section ends in the input. */
  readonly end: number;
}

/** Reads the section at the beginning of the block `input[from, to)`. @throws CorruptError */
export function readLiterals(input: Uint8Array, from: number, to: number, state: FrameState): Literals {
  if (from >= to) throw new CorruptError("zstd: corrupt input: empty block");
  const first = input[from] as number;
  const type = first & 3;
  const format = (first >> 2) & 3;
  if (type < 2) {
    const headerBytes = format === 1 ? 2 : format === 3 ? 3 : 1;
    const count = little(input, from, headerBytes) >> (headerBytes === 1 ? 3 : 4);
    const start = from + headerBytes;
    const end = start + (type === 0 ? count : 1);
    if (count > BLOCK_BYTES || end > to) throw new CorruptError("zstd: corrupt input: literals are cut off");
    if (type === 0) return { bytes: input, start, count, end };
    literals.fill(input[start] as number, 0, count);
    return { bytes: literals, start: 0, count, end };
  }
  // Sizes before and after decoding, of 10, 10, 14 or 18 bits each.
  const headerBytes = format < 2 ? 3 : format + 2;
  const sizeBits = format < 2 ? 10 : format * 4 + 6;
  const header = little(input, from, headerBytes);
  const count = Math.floor(header / 16) % 2 ** sizeBits;
  const size = Math.floor(header / 2 ** (4 + sizeBits));
  const start = from + headerBytes;
  const end = start + size;
  if (count > BLOCK_BYTES || end > to) throw new CorruptError("zstd: corrupt input: literals are cut off");
  let at = start;
  if (type === 2) {
    const read = readHuffmanTable(input, start, end);
    state.huffman = read.table;
    at = read.end;
  }
  const { huffman } = state;
  if (!huffman) throw new CorruptError("zstd: corrupt input: literals refer to a table that is not there");
  if (format === 0) decodeHuffman(huffman, input, at, end, literals, 0, count);
  else decodeFourStreams(huffman, input, at, end, count);
  return { bytes: literals, start: 0, count, end };
}

/** A jump table with the sizes of three streams, then four streams; each but the last decodes to a quarter, rounded up. */
function decodeFourStreams(table: HuffmanTable, input: Uint8Array, from: number, to: number, count: number): void {
  const quarter = (count + 3) >> 2;
  if (from + 6 > to || quarter * 3 > count) throw new CorruptError("zstd: corrupt input: literals are cut off");
  let at = from + 6;
  for (let stream = 0; stream < 4; stream++) {
    const end = stream === 3 ? to : at + little(input, from + stream * 2, 2);
    if (end > to) throw new CorruptError("zstd: corrupt input: literals are cut off");
    decodeHuffman(table, input, at, end, literals, stream * quarter, stream === 3 ? count : (stream + 1) * quarter);
    at = end;
  }
}
