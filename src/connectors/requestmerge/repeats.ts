/** Lines that come again after a restart, because their reader had not written down that they were taken. */
import type { SourceName } from "../../omni/log-table.ts";

/** Hashes of a batch's lines, by source, in order of first appearance. */
export type BatchHashes = ReadonlyMap<SourceName, readonly number[]>;

/** How many lines at the beginning of each source's part of a batch were read before; a source without any is absent. */
export type Skips = ReadonlyMap<SourceName, number>;

/**
 * A reader that hands on one batch of a source at a time, and goes on behind it when it was taken, goes on after a crash
 * somewhere in its last batch: at its beginning, or, when it was cut differently the last time, at one of the cuts. So the lines of
 * each source's last batch are enough to know what comes again. The first batch that goes on behind them, or that has
 * nothing to do with them, ends the watch for its source.
 */
export class Repeats {
  /** Where the reader of each source may go on: somewhere in these lines, or behind them. */
  readonly #last = new Map<SourceName, readonly number[]>();

  /** Whether any source's lines may come again. */
  get isWatching(): boolean {
    return this.#last.size > 0;
  }

  /** What of a batch came before. Asking changes nothing: the batch may still be refused. */
  find(batch: BatchHashes): Skips {
    const skips = new Map<SourceName, number>();
    for (const [source, hashes] of batch) {
      const last = this.#last.get(source) ?? [];
      const at = startIn(last, hashes);
      if (at < last.length) skips.set(source, Math.min(last.length - at, hashes.length));
    }
    return skips;
  }

  /** A batch was taken by a process that goes on: its lines do not come again, unless it lies inside of what is awaited. */
  take(batch: BatchHashes): void {
    for (const [source, hashes] of batch) {
      const last = this.#last.get(source);
      if (!last) continue;
      const at = startIn(last, hashes);
      if (at + hashes.length < last.length) this.#last.set(source, last.slice(at + hashes.length));
      else this.#last.delete(source);
    }
  }

  /** A batch stands in the journal of a process that has ended: its lines may come again, and earlier ones of its sources not. */
  expect(batch: BatchHashes, skips: Skips): void {
    for (const [source, hashes] of batch) {
      const skip = skips.get(source) ?? 0;
      const last = this.#last.get(source) ?? [];
      const at = skip > 0 ? startIn(last, hashes) : last.length;
      this.#last.set(source, at < last.length ? [...last.slice(at), ...hashes.slice(skip)] : hashes);
    }
  }
}

/** Where in `last` these lines begin, all of them or as many as there are to the end of `last`; its length when nowhere. */
function startIn(last: readonly number[], lines: readonly number[]): number {
  for (let at = 0; at < last.length; at++) {
    const common = Math.min(last.length - at, lines.length);
    let same = 0;
    while (same < common && last[at + same] === lines[same]) same++;
    if (same === common && common > 0) return at;
  }
  return last.length;
}
