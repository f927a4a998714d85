/**
 * Zstandard frames (RFC 8878). Written for this program because fzstd, the one decoder for JavaScript that is not
 * WebAssembly, takes memory for whatever window a frame header asks for and does not stop copying where a block must
 * end (docs/adr/007). Here history is the output itself, which is bounded, and no block gives more than 128 KiB.
 * Content checksums are stepped over; dictionaries are refused.
 */
import { BackwardBits } from "./bits.ts";
import { CorruptError, TooLargeError } from "./errors.ts";
import { buildTable, type FseTable, readTable, singleSymbolTable } from "./fse.ts";
import { decodeHuffman, type HuffmanTable, readHuffmanTable } from "./huffman.ts";
import type { Decoder, Output } from "./output.ts";

const MAGIC = 0xfd2fb528;
/** Skippable frames have the magic numbers 0x184D2A50 to 0x184D2A5F. */
const SKIPPABLE = 0x184d2a5;
/** Most bytes a block decodes to. */
const BLOCK_BYTES = 128 * 1024;

/** Decoded literals of one block. Shared: no decoder is set aside within a block. */
const literals = new Uint8Array(BLOCK_BYTES);

/** What a code of a sequence stands for: a baseline and so many extra bits. */
interface Codes {
  readonly baselines: readonly number[];
  readonly extra: readonly number[];
  readonly standard: FseTable;
  readonly maxAccuracy: number;
}

const range = (count: number, first: number): number[] => Array.from({ length: count }, (_, at) => first + at);
const zeros = (count: number): number[] => new Array<number>(count).fill(0);

/** Section 3.1.1.3.2.1.1, with the standard distributions of section 3.1.1.3.2.2. */
const LITERAL_LENGTHS: Codes = {
  baselines: [
    ...range(16, 0),
    16,
    18,
    20,
    22,
    24,
    28,
    32,
    40,
    48,
    64,
    128,
    256,
    512,
    1024,
    2048,
    4096,
    8192,
    16384,
    32768,
    65536,
  ],
  extra: [...zeros(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  standard: buildTable(
    [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
    6,
  ),
  maxAccuracy: 9,
};
const MATCH_LENGTHS: Codes = {
  baselines: [
    ...range(32, 3),
    35,
    37,
    39,
    41,
    43,
    47,
    51,
    59,
    67,
    83,
    99,
    131,
    259,
    515,
    1027,
    2051,
    4099,
    8195,
    16387,
    32771,
    65539,
  ],
  extra: [...zeros(32), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  standard: buildTable([1, 4, 3, 2, 2, 2, 2, 2, 2, ...new Array<number>(37).fill(1), -1, -1, -1, -1, -1, -1, -1], 6),
  maxAccuracy: 9,
};
/** An offset code is the number of its extra bits; its baseline is two to that. */
const OFFSETS: Codes = {
  baselines: range(32, 0).map((code) => 2 ** code),
  extra: range(32, 0),
  standard: buildTable([1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5),
  maxAccuracy: 8,
};

/** What a block leaves for the next one of its frame. */
interface FrameState {
  /** Where the frame's content begins: matches reach no further back. */
  readonly start: number;
  huffman: HuffmanTable | undefined;
  literalLengths: FseTable | undefined;
  offsets: FseTable | undefined;
  matchLengths: FseTable | undefined;
  /** The last three offsets, the latest first. */
  readonly recent: [number, number, number];
}

/** Frames one after the other; no bytes at all are an empty stream. */
export const zstdFrames: Decoder = function* (input, output) {
  let at = 0;
  while (at < input.length) {
    const magic = little(input, at, 4);
    if (magic >>> 4 === SKIPPABLE) {
      at += 8 + little(input, at + 4, 4);
      if (at > input.length) throw new CorruptError("unexpected EOF");
    } else if (magic === MAGIC) at = yield* frame(input, at + 4, output);
    else throw new CorruptError("zstd: invalid input: magic number mismatch");
  }
};

/** @returns where the frame ends. */
function* frame(input: Uint8Array, from: number, output: Output): Generator<void, number, void> {
  const descriptor = little(input, from, 1);
  if (descriptor & 8) throw new CorruptError("zstd: corrupt input: a reserved bit is set");
  const singleSegment = (descriptor & 32) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  let at = from + 1 + (singleSegment ? 0 : 1);
  if (little(input, at, dictionaryBytes) !== 0) throw new CorruptError("zstd: dictionaries are not supported");
  at += dictionaryBytes;
  const declared = sizeBytes === 0 ? undefined : little(input, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  if (declared !== undefined) {
    if (declared > output.limit - output.length) throw new TooLargeError(output.limit);
    // Telemetry seldom shrinks to less than a sixteenth; what claims more grows step by step.
    output.reserve(Math.min(declared, (input.length - at) * 16));
  }

  const state: FrameState = {
    start: output.length,
    huffman: undefined,
    literalLengths: undefined,
    offsets: undefined,
    matchLengths: undefined,
    recent: [1, 4, 8],
  };
  for (let last = false; !last; ) {
    const header = little(input, at, 3);
    at += 3;
    last = (header & 1) === 1;
    const type = (header >> 1) & 3;
    const size = header >> 3;
    if (size > BLOCK_BYTES || type === 3) throw new CorruptError("zstd: corrupt input: invalid block");
    const end = at + (type === 1 ? 1 : size);
    if (end > input.length) throw new CorruptError("unexpected EOF");
    if (type === 0) output.append(input, at, end);
    else if (type === 1) output.fill(input[at] as number, size);
    else decodeBlock(input, at, end, output, state);
    at = end;
    yield;
  }
  if (declared !== undefined && declared !== output.length - state.start)
    throw new CorruptError("zstd: corrupt input: the content is not as long as its frame says");
  if (descriptor & 4) {
    at += 4;
    if (at > input.length) throw new CorruptError("unexpected EOF");
  }
  return at;
}

function decodeBlock(input: Uint8Array, from: number, to: number, output: Output, state: FrameState): void {
  const section = readLiterals(input, from, to, state);
  decodeSequences(input, to, output, state, section);
}

/** Where a block's literals are: in the input when they are stored, else in `literals`. */
interface Literals {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly count: number;
  /** Where the section ends in the input. */
  readonly end: number;
}

/** Section 3.1.1.3.1. */
function readLiterals(input: Uint8Array, from: number, to: number, state: FrameState): Literals {
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

/** Section 3.1.1.3.2: each sequence copies literals, then a match; what is left of the literals comes last. */
function decodeSequences(input: Uint8Array, to: number, output: Output, state: FrameState, section: Literals): void {
  let at = section.end;
  let sequences = little(input, at++, 1);
  if (at > to) throw new CorruptError("zstd: corrupt input: sequences are cut off");
  if (sequences === 255) {
    sequences = little(input, at, 2) + 0x7f00;
    at += 2;
  } else if (sequences > 127) sequences = ((sequences - 128) << 8) + little(input, at++, 1);
  let literal = section.start;
  const literalsEnd = section.start + section.count;
  const blockStart = output.length;
  if (sequences > 0) {
    const modes = little(input, at++, 1);
    if (modes & 3) throw new CorruptError("zstd: corrupt input: a reserved bit is set");
    let read = readSequenceTable(input, at, to, modes >> 6, LITERAL_LENGTHS, state.literalLengths);
    const literalLengths = read.table;
    read = readSequenceTable(input, read.end, to, (modes >> 4) & 3, OFFSETS, state.offsets);
    const offsets = read.table;
    read = readSequenceTable(input, read.end, to, (modes >> 2) & 3, MATCH_LENGTHS, state.matchLengths);
    const matchLengths = read.table;
    state.literalLengths = literalLengths;
    state.offsets = offsets;
    state.matchLengths = matchLengths;
    if (read.end > to) throw new CorruptError("zstd: corrupt input: sequences are cut off");

    const bits = new BackwardBits(input, read.end, to);
    let literalState = bits.read(literalLengths.accuracy);
    let offsetState = bits.read(offsets.accuracy);
    let matchState = bits.read(matchLengths.accuracy);
    for (let sequence = 0; sequence < sequences; sequence++) {
      const offsetCode = offsets.symbols[offsetState] as number;
      const matchCode = matchLengths.symbols[matchState] as number;
      const literalCode = literalLengths.symbols[literalState] as number;
      const offsetValue =
        offsetCode > 24
          ? 2 ** offsetCode + bits.read(offsetCode - 16) * 65_536 + bits.read(16)
          : (1 << offsetCode) + bits.read(offsetCode);
      const matchLength =
        (MATCH_LENGTHS.baselines[matchCode] as number) + bits.read(MATCH_LENGTHS.extra[matchCode] as number);
      const literalLength =
        (LITERAL_LENGTHS.baselines[literalCode] as number) + bits.read(LITERAL_LENGTHS.extra[literalCode] as number);
      if (sequence + 1 < sequences) {
        literalState =
          (literalLengths.baselines[literalState] as number) + bits.read(literalLengths.bits[literalState] as number);
        matchState =
          (matchLengths.baselines[matchState] as number) + bits.read(matchLengths.bits[matchState] as number);
        offsetState = (offsets.baselines[offsetState] as number) + bits.read(offsets.bits[offsetState] as number);
      }
      if (bits.left < 0) throw new CorruptError("zstd: corrupt input: sequences are cut off");
      if (
        literalLength > literalsEnd - literal ||
        output.length - blockStart + literalLength + matchLength > BLOCK_BYTES
      )
        throw new CorruptError("zstd: corrupt input: a sequence is longer than its block");
      output.append(section.bytes, literal, literal + literalLength);
      literal += literalLength;
      output.reserve(matchLength);
      output.repeat(nextOffset(state.recent, offsetValue, literalLength), matchLength, state.start);
    }
    if (bits.left !== 0) throw new CorruptError("zstd: corrupt input: sequences do not fill their stream");
  } else if (at !== to) throw new CorruptError("zstd: corrupt input: bytes behind the last literal");
  if (output.length - blockStart + literalsEnd - literal > BLOCK_BYTES)
    throw new CorruptError("zstd: corrupt input: a block is too long");
  output.append(section.bytes, literal, literalsEnd);
}

/** Values 1 to 3 repeat a recent offset, counted from the second when there are no literals; others are an offset plus 3. */
function nextOffset(recent: [number, number, number], value: number, literalLength: number): number {
  if (value > 3) {
    recent[2] = recent[1];
    recent[1] = recent[0];
    recent[0] = value - 3;
    return value - 3;
  }
  const index = value - 1 + (literalLength === 0 ? 1 : 0);
  if (index === 0) return recent[0];
  const offset = index === 3 ? recent[0] - 1 : (recent[index] as number);
  if (index > 1) recent[2] = recent[1];
  recent[1] = recent[0];
  recent[0] = offset;
  return offset;
}

/** Modes: 0 the standard table, 1 one symbol, 2 a table of its own, 3 the table before. */
function readSequenceTable(
  input: Uint8Array,
  at: number,
  to: number,
  mode: number,
  codes: Codes,
  before: FseTable | undefined,
): { readonly table: FseTable; readonly end: number } {
  switch (mode) {
    case 0:
      return { table: codes.standard, end: at };
    case 1: {
      const symbol = little(input, at, 1);
      if (symbol >= codes.baselines.length) throw new CorruptError("zstd: corrupt input: invalid code");
      return { table: singleSymbolTable(symbol), end: at + 1 };
    }
    case 2:
      return readTable(input, at, to, codes.maxAccuracy, codes.baselines.length - 1);
    default:
      if (!before) throw new CorruptError("zstd: corrupt input: sequences refer to a table that is not there");
      return { table: before, end: at };
  }
}

/** An unsigned little-endian integer of `count` bytes, exact below 2^53. @throws CorruptError behind the end. */
function little(bytes: Uint8Array, at: number, count: number): number {
  if (at + count > bytes.length) throw new CorruptError("unexpected EOF");
  let value = 0;
  for (let byte = count - 1; byte >= 0; byte--) value = value * 256 + (bytes[at + byte] as number);
  return value;
}
