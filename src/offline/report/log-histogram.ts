/** Counts of positive numbers in buckets that each are one percent wider than the one before: any number of values in a few kilobytes. */

import { between, rankOf } from "../numbers/percentile.ts";

/** A bucket reaches from its lower edge to this many times it. */
const RATIO = 1.01;
const STEP = Math.log(RATIO);
/** Values below are counted as this: a nanosecond, when values are milliseconds. */
const LEAST = 1e-6;
/** Values above are counted as this. */
const MOST = 1e15;

/** A bar of a chart. */
export interface Bar {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export class LogHistogram {
  readonly #counts = new Map<number, number>();
  count = 0;

  add(value: number): void {
    const index = Math.floor(Math.log(Math.min(MOST, Math.max(LEAST, value))) / STEP);
    this.#counts.set(index, (this.#counts.get(index) ?? 0) + 1);
    this.count++;
  }

  /** numpy's linear percentile (`q` 0..100), off by half a percent at most; NaN when empty. */
  percentile(q: number): number {
    if (this.count === 0) return Number.NaN;
    const sorted = this.#sorted();
    const { below, part } = rankOf(q, this.count);
    return between(valueAt(sorted, below), valueAt(sorted, Math.min(this.count - 1, below + 1)), part);
  }

  /** At most `most` bars of equal width on a logarithmic axis, without gaps, from the least value to the largest. */
  bars(most: number): Bar[] {
    const sorted = this.#sorted();
    const first = sorted[0]?.[0];
    const last = sorted.at(-1)?.[0];
    if (first === undefined || last === undefined) return [];
    const width = Math.ceil((last - first + 1) / most);
    const counts: number[] = new Array<number>(Math.ceil((last - first + 1) / width)).fill(0);
    for (const [index, count] of sorted) {
      const bar = Math.floor((index - first) / width);
      counts[bar] = (counts[bar] as number) + count;
    }
    return counts.map((count, bar) => ({
      from: edge(first + bar * width),
      to: edge(first + (bar + 1) * width),
      count,
    }));
  }

  #sorted(): [number, number][] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }
}

/** The value of this rank, from 0. */
function valueAt(sorted: readonly [index: number, count: number][], rank: number): number {
  let left = rank;
  for (const [index, count] of sorted) {
    if (left < count) return edge(index + 0.5);
    left -= count;
  }
  return Number.NaN;
}

function edge(index: number): number {
  return Math.exp(index * STEP);
}
