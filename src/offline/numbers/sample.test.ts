import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../test/kit/captures.ts";
import { percentile } from "./percentile.ts";
import { Sample } from "./sample.ts";
import { Scratch } from "./scratch.ts";

const QS = [0, 0.01, 25, 50, 90, 99, 99.99, 100];

/** Adds what `value` gives to a sample and to an array; compares all percentiles. */
function compare(count: number, value: (random: () => number, i: number) => number): Scratch {
  const random = seededRandom(7);
  const scratch = new Scratch();
  const sample = new Sample(scratch);
  const all = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const next = value(random, i);
    all[i] = next;
    sample.add(next);
  }
  all.sort();
  expect(sample.percentiles(QS)).toEqual(QS.map((q) => percentile(all, q)));
  expect(sample.count).toBe(count);
  return scratch;
}

describe("Sample", () => {
  it("Sample keeps small samples in memory", () => {
    expect(compare(60_000, (random) => random()).size).toBe(0);
  });

  it("Sample gives exact percentiles of what it wrote to its scratch file", () => {
    const scratch = compare(300_000, (random) => 10 ** (random() * 8 - 6));
    expect(scratch.size).toBeGreaterThan(2_000_000);
    scratch.close();
  });

  it("Sample gives exact percentiles of negative, tiny and equal values in its scratch file", () => {
    compare(
      150_000,
      (random, i) => (i % 3 === 0 ? -1 : 1) * (i % 5 === 0 ? 2 ** -1040 : Math.round(random() * 3)),
    ).close();
  });

  it("Sample finds percentiles by all bits when more values are alike than it sorts", () => {
    // All in one bucket of 16 bits, most of them in one of 32.
    compare(1_200_000, (random, i) => (i < 1_150_000 ? 1.0000001 : 1.0000001 + random() * 1e-3)).close();
  });

  it("Sample goes on after it was asked", () => {
    const sample = new Sample(new Scratch());
    sample.add(1);
    expect(sample.percentiles([50])).toEqual([1]);
    sample.add(3);
    expect(sample.percentiles([50])).toEqual([2]);
  });
});
