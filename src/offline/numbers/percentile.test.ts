import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { percentile } from "./percentile.ts";
import { Sample } from "./sample.ts";
import { Scratch } from "./scratch.ts";

/** Made by numpy (test/fixtures/numpy/make.py). */
const { samples } = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/numpy/percentiles.json", import.meta.url), "utf8"),
) as { samples: { name: string; values: number[]; q: number[]; percentiles: number[]; mean: number }[] };

/** Largest difference that 1e-9 relative allows. */
const near = (wanted: number): number => Math.abs(wanted) * 1e-9;

describe("percentile", () => {
  it.each(samples)("percentile gives numpy's linear percentiles of $name", ({ values, q, percentiles }) => {
    const sorted = Float64Array.from(values).sort();
    for (const [i, wanted] of percentiles.entries())
      expect(Math.abs(percentile(sorted, q[i] as number) - wanted), `p${q[i]}`).toBeLessThanOrEqual(near(wanted));
  });

  it("percentile is NaN when there are no values", () => {
    expect(percentile([], 50)).toBeNaN();
  });
});

describe("Sample", () => {
  it.each(samples)("Sample gives numpy's mean and percentiles of $name", ({ values, q, percentiles, mean }) => {
    const sample = new Sample(new Scratch());
    for (const value of values) sample.add(value);
    expect(sample.count).toBe(values.length);
    expect(sample.min).toBe(Math.min(...values));
    expect(sample.max).toBe(Math.max(...values));
    expect(Math.abs(sample.mean - mean)).toBeLessThanOrEqual(near(mean));
    for (const [i, got] of sample.percentiles(q).entries())
      expect(Math.abs(got - (percentiles[i] as number)), `p${q[i]}`).toBeLessThanOrEqual(
        near(percentiles[i] as number),
      );
  });
});
