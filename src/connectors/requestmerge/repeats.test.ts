import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SourceName } from "../../omni/log-table.ts";
import { type BatchHashes, Repeats, type Skips } from "./repeats.ts";

const SOURCE: SourceName = { host: "proxy-1", path: "/var/log/error.log", instance: "", timezone: "UTC" };
const batchOf = (lines: readonly number[]): BatchHashes => new Map([[SOURCE, lines]]);

/** What stands in the journal: batches with what was known of them when they were written. */
type Journal = { batch: BatchHashes; skips: Skips }[];

function resumed(journal: Journal): Repeats {
  const repeats = new Repeats();
  for (const { batch, skips } of journal) repeats.expect(batch, skips);
  return repeats;
}

describe("Repeats", () => {
  it("takes every line once, however often the reader and the merge are killed", () => {
    const life = fc.record({
      // How many lines each batch has.
      batches: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 5 }),
      // Whether the last batch was written down by its reader as taken.
      isNoted: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(life, { minLength: 1, maxLength: 8 }), (lives) => {
        const journal: Journal = [];
        const taken: number[] = [];
        let offset = 0;
        for (const { batches, isNoted } of lives) {
          const repeats = resumed(journal);
          for (const [index, length] of batches.entries()) {
            const batch = batchOf(Array.from({ length }, (_, line) => offset + line));
            const skips = repeats.find(batch);
            expect(repeats.find(batch)).toEqual(skips);
            journal.push({ batch, skips });
            repeats.take(batch);
            taken.push(...(batch.get(SOURCE) ?? []).slice(skips.get(SOURCE) ?? 0));
            if (index < batches.length - 1 || isNoted) offset += length;
          }
        }
        expect(taken).toEqual(Array.from({ length: taken.length }, (_, line) => line));
      }),
    );
  });

  it("does not know lines that only look alike further on", () => {
    const repeats = new Repeats();
    repeats.expect(batchOf([1, 2, 3]), new Map());
    expect(repeats.find(batchOf([2, 4]))).toEqual(new Map());
    expect(repeats.find(batchOf([2, 3, 4]))).toEqual(new Map([[SOURCE, 2]]));
    repeats.take(batchOf([9]));
    expect(repeats.isWatching).toBe(false);
  });
});
