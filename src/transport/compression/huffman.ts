/** Huffman-coded literals of Zstandard (RFC 8878, section 4.2). */
import { BackwardBits } from "./bits.ts";
import { CorruptError } from "./errors.ts";
import { readTable } from "./fse.ts";

/** Longest code. */
const MAX_BITS = 11;
/** Largest accuracy of the table that the weights are coded with. */
const WEIGHTS_ACCURACY = 6;
/** Weights of all symbols but the last, which follows from them. */
const MAX_WEIGHTS = 255;

/** A decoding table over `bits` bits: the symbol in the low byte, the length of its code above. */
export interface HuffmanTable {
  readonly entries: Uint16Array;
  readonly bits: number;
}

/** Reads a tree description at `from`. @returns the table and the index behind the description. @throws CorruptError */
export function readHuffmanTable(
  bytes: Uint8Array,
  from: number,
  to: number,
): { readonly table: HuffmanTable; readonly end: number } {
  if (from >= to) throw new CorruptError("zstd: corrupt input: literals are cut off");
  const header = bytes[from] as number;
  const start = from + 1;
  const size = header < 128 ? header : (header - 126) >> 1;
  const end = start + size;
  if (end > to) throw new CorruptError("zstd: corrupt input: literals are cut off");
  const weights = header < 128 ? compressedWeights(bytes, start, end) : plainWeights(bytes, start, header - 127);
  return { table: buildHuffmanTable(weights), end };
}

/** Four bits a weight, the high ones first. */
function plainWeights(bytes: Uint8Array, from: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => {
    const byte = bytes[from + (at >> 1)] as number;
    return at & 1 ? byte & 15 : byte >> 4;
  });
}

/** Two FSE states that take turns until the bits are used up; each then gives one more symbol. */
function compressedWeights(bytes: Uint8Array, from: number, to: number): number[] {
  const { table, end } = readTable(bytes, from, to, WEIGHTS_ACCURACY, MAX_BITS + 1);
  const input = new BackwardBits(bytes, end, to);
  const states = [input.read(table.accuracy), input.read(table.accuracy)] as [number, number];
  if (input.left < 0) throw new CorruptError("zstd: corrupt input: weights are cut off");
  const weights: number[] = [];
  for (let turn: 0 | 1 = 0; ; turn = turn === 0 ? 1 : 0) {
    const state = states[turn];
    weights.push(table.symbols[state] as number);
    if (weights.length > MAX_WEIGHTS) throw new CorruptError("zstd: corrupt input: too many weights");
    states[turn] = (table.baselines[state] as number) + input.read(table.bits[state] as number);
    if (input.left < 0) {
      weights.push(table.symbols[states[turn === 0 ? 1 : 0]] as number);
      return weights;
    }
  }
}

/** Weight w > 0 is a code of `bits + 1 - w` bits; the last weight makes the sum of 2^(w-1) a power of two. */
function buildHuffmanTable(weights: number[]): HuffmanTable {
  if (weights.length > MAX_WEIGHTS) throw new CorruptError("zstd: corrupt input: too many weights");
  let sum = 0;
  for (const weight of weights) {
    if (weight > MAX_BITS) throw new CorruptError("zstd: corrupt input: a code is too long");
    if (weight > 0) sum += 1 << (weight - 1);
  }
  if (sum === 0) throw new CorruptError("zstd: corrupt input: a code has no symbols");
  const bits = 32 - Math.clz32(sum);
  const missing = (1 << bits) - sum;
  if (bits > MAX_BITS || (missing & (missing - 1)) !== 0)
    throw new CorruptError("zstd: corrupt input: a code is not complete");
  weights.push(32 - Math.clz32(missing));

  // Codes are given out from the lowest weight (the longest code) up, and among equals in the order of the symbols.
  const starts = new Uint16Array(MAX_BITS + 2);
  for (const weight of weights)
    if (weight > 0) starts[weight + 1] = (starts[weight + 1] as number) + (1 << (weight - 1));
  for (let weight = 1; weight < starts.length; weight++)
    starts[weight] = (starts[weight] as number) + (starts[weight - 1] as number);
  const entries = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < weights.length; symbol++) {
    const weight = weights[symbol] as number;
    if (weight === 0) continue;
    const start = starts[weight] as number;
    const end = start + (1 << (weight - 1));
    entries.fill(symbol | ((bits + 1 - weight) << 8), start, end);
    starts[weight] = end;
  }
  return { entries, bits };
}

/** Decodes the stream `bytes[from, to)` into `out[at, end)`, exactly. @throws CorruptError */
export function decodeHuffman(
  table: HuffmanTable,
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
  end: number,
): void {
  const input = new BackwardBits(bytes, from, to);
  const { entries, bits } = table;
  for (let position = at; position < end; position++) {
    const entry = entries[input.peek(bits)] as number;
    out[position] = entry & 255;
    input.left -= entry >> 8;
  }
  if (input.left !== 0) throw new CorruptError("zstd: corrupt input: literals do not fill their stream");
}
