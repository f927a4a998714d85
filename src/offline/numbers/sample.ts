/** A sample of any size with exact percentiles: what does not fit into memory goes to a scratch file. */
import { between, percentile, rankOf } from "./percentile.ts";
import type { Scratch, Segment } from "./scratch.ts";

/** Values of one sample that stay in memory; a full buffer goes to the scratch file. */
export const SAMPLE_BUFFER = 65_536;
/** Values that a percentile is found among by sorting; with more, their bits are counted first. */
const MOST_SORTED = 1_048_576;
/** Values are counted by 16 bits at a time. */
const RADIX = 65_536;
const DIGITS = 4;

export class Sample {
  readonly #scratch: Scratch;
  readonly #segments: Segment[] = [];
  #buffer: Float64Array<ArrayBuffer> = new Float64Array(16);
  #filled = 0;
  #sorted: Float64Array | undefined;
  count = 0;
  sum = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  /** Adds a finite number. */
  add(value: number): void {
    if (this.#filled === this.#buffer.length) this.#makeRoom();
    this.#buffer[this.#filled++] = value;
    this.#sorted = undefined;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  /** NaN when empty. */
  get mean(): number {
    return this.sum / this.count;
  }

  /** numpy.percentile(values, q) for each of `qs` (0..100); NaN when empty. */
  percentiles(qs: readonly number[]): number[] {
    if (this.#segments.length === 0) {
      this.#sorted ??= this.#buffer.slice(0, this.#filled).sort();
      const sorted = this.#sorted;
      return qs.map((q) => percentile(sorted, q));
    }
    const ranks = qs.map((q) => rankOf(q, this.count));
    const wanted = ranks.flatMap(({ below }) => [below, Math.min(this.count - 1, below + 1)]);
    const values = this.#valuesAt([...new Set(wanted)].sort((a, b) => a - b));
    return ranks.map(({ below, part }) =>
      between(values.get(below) as number, values.get(Math.min(this.count - 1, below + 1)) as number, part),
    );
  }

  #makeRoom(): void {
    if (this.#buffer.length < SAMPLE_BUFFER) {
      const larger = new Float64Array(this.#buffer.length * 4);
      larger.set(this.#buffer);
      this.#buffer = larger;
      return;
    }
    this.#segments.push(this.#scratch.keep(new Uint8Array(this.#buffer.buffer)));
    this.#filled = 0;
  }

  /** Rank -> value, for ascending ranks. Counts values by their highest bits, then looks only into the buckets that hold a rank. */
  #valuesAt(ranks: readonly number[]): Map<number, number> {
    const found = new Map<number, number>();
    this.#select(ranks, [], 0, found);
    return found;
  }

  /** Finds `ranks` among the values whose first digits are `prefix`; the smallest of them has the rank `before`. */
  #select(ranks: readonly number[], prefix: readonly number[], before: number, found: Map<number, number>): void {
    const counts = new Float64Array(RADIX);
    this.#visit(prefix, () => {
      const digit = digitOf(prefix.length);
      counts[digit] = (counts[digit] as number) + 1;
    });
    let from = before;
    let next = 0;
    for (let digit = 0; digit < RADIX && next < ranks.length; digit++) {
      const count = counts[digit] as number;
      const inside: number[] = [];
      while (next < ranks.length && (ranks[next] as number) < from + count) inside.push(ranks[next++] as number);
      if (inside.length > 0) this.#within(inside, [...prefix, digit], from, count, found);
      from += count;
    }
  }

  #within(
    ranks: readonly number[],
    prefix: readonly number[],
    from: number,
    count: number,
    found: Map<number, number>,
  ): void {
    if (count > MOST_SORTED && prefix.length < DIGITS) {
      this.#select(ranks, prefix, from, found);
      return;
    }
    const same = prefix.length === DIGITS; // all 64 bits
    const values = new Float64Array(same ? 1 : count);
    let filled = 0;
    this.#visit(prefix, (value) => {
      if (filled < values.length) values[filled++] = value;
    });
    values.sort();
    for (const rank of ranks) found.set(rank, values[same ? 0 : rank - from] as number);
  }

  /** Shows the values whose first digits are `prefix`; `digitOf` tells digits of the one that is shown. */
  #visit(prefix: readonly number[], see: (value: number) => void): void {
    const show = (value: number): void => {
      load(value);
      for (let i = 0; i < prefix.length; i++) if (digitOf(i) !== prefix[i]) return;
      see(value);
    };
    const block = new Float64Array(SAMPLE_BUFFER);
    const bytes = new Uint8Array(block.buffer);
    for (const segment of this.#segments) {
      this.#scratch.read(segment, bytes);
      for (const value of block) show(value);
    }
    for (let i = 0; i < this.#filled; i++) show(this.#buffer[i] as number);
  }
}

// A double's 64 bits as four digits whose order is the doubles' order: the sign bit turned, all others too below zero.
const cell = new DataView(new ArrayBuffer(8));
let negative = false;

function load(value: number): void {
  cell.setFloat64(0, value);
  negative = cell.getUint8(0) >= 0x80;
}

function digitOf(index: number): number {
  const digit = cell.getUint16(index * 2);
  if (negative) return digit ^ 0xffff;
  return index === 0 ? digit ^ 0x8000 : digit;
}
