/** Finite state entropy tables of Zstandard (RFC 8878, section 4.1.1). */
import { ForwardBits } from "./bits.ts";
import { CorruptError } from "./errors.ts";

/** A decoding table: in state `s` the symbol is `symbols[s]`, the next state `baselines[s]` plus `bits[s]` bits. */
export interface FseTable {
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly baselines: Uint16Array;
  /** log2 of the number of states. */
  readonly accuracy: number;
}

/** The table of mode RLE: one symbol, no bits. */
export function singleSymbolTable(symbol: number): FseTable {
  return { symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), baselines: new Uint16Array(1), accuracy: 0 };
}

/** Builds a table from normalized counts, -1 being "less than one". @throws CorruptError when they do not fill it. */
export function buildTable(counts: ArrayLike<number>, accuracy: number): FseTable {
  const size = 1 << accuracy;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size - 1;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    const count = counts[symbol] as number;
    if (count === -1) {
      symbols[high--] = symbol;
      next[symbol] = 1;
    } else next[symbol] = count;
  }
  const mask = size - 1;
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let copy = counts[symbol] as number; copy > 0; copy--) {
      symbols[at] = symbol;
      do at = (at + step) & mask;
      while (at > high);
    }
  }
  if (at !== 0) throw new CorruptError("zstd: corrupt input: a table does not add up");
  const bits = new Uint8Array(size);
  const baselines = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number;
    const count = next[symbol] as number;
    next[symbol] = count + 1;
    const width = accuracy - (31 - Math.clz32(count));
    bits[state] = width;
    baselines[state] = (count << width) - size;
  }
  return { symbols, bits, baselines, accuracy };
}

/**
 * Reads a table description from `bytes[from, to)`.
 * @returns the table and the index behind its last byte. @throws CorruptError
 */
export function readTable(
  bytes: Uint8Array,
  from: number,
  to: number,
  maxAccuracy: number,
  maxSymbol: number,
): { readonly table: FseTable; readonly end: number } {
  const input = new ForwardBits(bytes, from, to);
  const accuracy = input.peek(4) + 5;
  input.skip(4);
  if (accuracy > maxAccuracy) throw new CorruptError("zstd: corrupt input: a table is too large");
  const counts: number[] = [];
  // One more than the probability that is not given out yet.
  let remaining = (1 << accuracy) + 1;
  let threshold = 1 << accuracy;
  let width = accuracy + 1;
  while (remaining > 1) {
    if (counts.length > maxSymbol) throw new CorruptError("zstd: corrupt input: a table has too many symbols");
    // Values below `short` are a bit shorter, so that the range of what is possible is used up.
    const short = 2 * threshold - 1 - remaining;
    const peeked = input.peek(width);
    let value = peeked & (threshold - 1);
    if (value < short) input.skip(width - 1);
    else {
      value = peeked;
      if (value >= threshold) value -= short;
      input.skip(width);
    }
    const count = value - 1;
    remaining -= Math.abs(count);
    counts.push(count);
    if (count === 0) {
      let repeat: number;
      do {
        repeat = input.peek(2);
        input.skip(2);
        for (let zero = 0; zero < repeat; zero++) counts.push(0);
        if (counts.length > maxSymbol + 1) throw new CorruptError("zstd: corrupt input: a table has too many symbols");
      } while (repeat === 3);
    }
    while (remaining < threshold) {
      width--;
      threshold >>= 1;
    }
  }
  if (remaining !== 1) throw new CorruptError("zstd: corrupt input: a table does not add up");
  return { table: buildTable(counts, accuracy), end: input.nextByte };
}
