/** The sequences section of a Zstandard block (RFC 8878, section 3.1.1.3.2). */
import { BackwardBits } from "./bits.ts";
import { CorruptError } from "./errors.ts";
import { buildTable, type FseTable, readTable, singleSymbolTable } from "./fse.ts";
import type { Output } from "./output.ts";
import { BLOCK_BYTES, type FrameState, little } from "./zstd-block.ts";
import type { Literals } from "./zstd-literals.ts";

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

/** Each sequence copies literals, then a match; what is left of the literals comes last. */
export function decodeSequences(
  input: Uint8Array,
  to: number,
  output: Output,
  state: FrameState,
  section: Literals,
): void {
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
