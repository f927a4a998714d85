/** Lines that come again after a restart, because their reader had not written down that they were taken. */
import type { SourceName } from "../../omni/log-table.ts";

/** Hashes of a batch's lines, by source, in order. */
export type BatchHashes = ReadonlyMap<SourceName, readonly number[]>;

/** How many lines at the beginning of each source's part of a batch were read before. */
export type Skips = ReadonlyMap<SourceName, number>;

/**
 * A reader that hands on one batch of a file at a time, and goes on behind it when it was taken, sends at most its last
 * batch again after a crash, with more lines behind it or cut into smaller batches. So the lines of each source's last batch
 * are enough to know them. The first batch that does not begin with them ends the watch for its source.
 */
export class Repeats {
  readonly #last = new Map<SourceName, readonly number[]>();

  /** Whether any source's lines may come again. */
  get isWatching(): boolean {
    return this.#last.size > 0;
  }

  /** From now on the lines of this batch may come again, and earlier ones of its sources not. */
  expect(batch: BatchHashes): void {
    for (const [source, hashes] of batch) this.#last.set(source, hashes);
  }

  /** What of a batch came before. Its sources are not watched for the same lines again. */
  take(batch: BatchHashes): Skips {
    const skips = new Map<SourceName, number>();
    for (const [source, hashes] of batch) {
      const last = this.#last.get(source);
      if (!last) continue;
      const common = Math.min(last.length, hashes.length);
      const isSame = last.slice(0, common).every((hash, index) => hash === hashes[index]);
      if (isSame) skips.set(source, common);
      if (isSame && common < last.length) this.#last.set(source, last.slice(common));
      else this.#last.delete(source);
    }
    return skips;
  }

  /** The same for a batch of the journal of which it is known that it begins with the end of what came before. */
  retake(batch: BatchHashes): Skips {
    const skips = new Map<SourceName, number>();
    for (const [source, hashes] of batch) {
      const last = this.#last.get(source) ?? [];
      for (let common = Math.min(last.length, hashes.length); common > 0; common--) {
        if (!last.slice(last.length - common).every((hash, index) => hash === hashes[index])) continue;
        skips.set(source, common);
        break;
      }
    }
    return skips;
  }
}
