import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { percentile } from "../numbers/percentile.ts";
import { outliers } from "./instances.ts";
import { LogHistogram } from "./log-histogram.ts";
import { linearTicks, logTicks } from "./page/charts.ts";
import { html, short } from "./page/html.ts";
import { MOST_BINS, PHASES, Timeline } from "./timeline.ts";

const times = fc.array(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 });

describe("LogHistogram", () => {
  it("LogHistogram tells numpy's percentiles to half a percent", () => {
    fc.assert(
      fc.property(times, fc.double({ min: 0, max: 100, noNaN: true }), (values, q) => {
        const histogram = new LogHistogram();
        for (const value of values) histogram.add(value);
        const exact = percentile(
          values.toSorted((a, b) => a - b),
          q,
        );
        expect(Math.abs(histogram.percentile(q) / exact - 1)).toBeLessThan(0.0051);
      }),
    );
  });

  it("LogHistogram's bars hold every value once, without gaps, and are no more than asked for", () => {
    fc.assert(
      fc.property(times, fc.integer({ min: 1, max: 50 }), (values, most) => {
        const histogram = new LogHistogram();
        for (const value of values) histogram.add(value);
        const bars = histogram.bars(most);
        expect(bars.length).toBeLessThanOrEqual(most);
        expect(bars.reduce((sum, { count }) => sum + count, 0)).toBe(values.length);
        for (const [index, bar] of bars.entries())
          if (index > 0) expect(bar.from).toBeCloseTo(bars[index - 1]?.to ?? Number.NaN, 9);
        expect(bars[0]?.from).toBeLessThanOrEqual(Math.min(...values) * 1.000001);
        expect(bars.at(-1)?.to).toBeGreaterThanOrEqual(Math.max(...values) * 0.999999);
      }),
    );
  });

  it("LogHistogram takes zero, less than that and what has no end", () => {
    const histogram = new LogHistogram();
    for (const value of [0, -5, Number.POSITIVE_INFINITY, 1]) histogram.add(value);
    expect(histogram.count).toBe(4);
    expect(histogram.bars(40)).toHaveLength(40);
  });
});

describe("Timeline", () => {
  it("Timeline keeps every request in at most MOST_BINS bins, whatever the times and their order", () => {
    const start = fc.oneof(fc.integer({ min: 1.7e12, max: 1.7e12 + 1e6 }), fc.integer({ min: 0, max: 9e15 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(start, fc.boolean()), { minLength: 1, maxLength: 100 }), (requests) => {
        const timeline = new Timeline();
        for (const [startMs, failed] of requests)
          timeline.add(
            startMs,
            PHASES.map(() => 1),
            failed,
          );
        const { bins, widthMs } = timeline.data();
        expect(bins.length).toBeLessThanOrEqual(MOST_BINS);
        expect(bins.reduce((sum, bin) => sum + bin.requests, 0)).toBe(requests.length);
        expect(bins.reduce((sum, bin) => sum + bin.failed, 0)).toBe(requests.filter(([, failed]) => failed).length);
        for (const [startMs] of requests)
          expect(
            bins.some((bin) => bin.requests > 0 && startMs >= bin.startMs && startMs < bin.startMs + widthMs),
          ).toBe(true);
        for (const bin of bins) expect(bin.phases).toEqual(PHASES.map(() => (bin.requests > 0 ? 1 : 0)));
      }),
    );
  });
});

describe("outliers", () => {
  it.each([
    ["the slow one of four", [100, 104, 97, 210], [undefined, undefined, undefined, 210 / 102]],
    ["the fast one too", [100, 104, 97, 40], [undefined, undefined, undefined, 40 / 98.5]],
    ["nobody among two", [100, 900], [undefined, undefined]],
    [
      "nobody where all differ as much",
      [100, 200, 300, 400, 500],
      [undefined, undefined, undefined, undefined, undefined],
    ],
    [
      "nobody within a quarter, however equal the others are",
      [100, 100, 100, 120],
      [undefined, undefined, undefined, undefined],
    ],
    ["the one beside equal ones", [100, 100, 100, 130], [undefined, undefined, undefined, 1.3]],
    ["nobody where nothing takes time", [0, 0, 5], [undefined, undefined, undefined]],
  ])("outliers marks %s", (_, medians, expected) => {
    const judge = outliers(medians);
    expect(medians.map((value) => judge(value))).toEqual(expected);
  });
});

describe("ticks", () => {
  it("logTicks and linearTicks are round, inside and few, whatever the range", () => {
    const bound = fc.double({ min: 1e-6, max: 1e12, noNaN: true });
    fc.assert(
      fc.property(bound, bound, (a, b) => {
        for (const value of logTicks(Math.min(a, b), Math.max(a, b))) {
          expect(value).toBeGreaterThanOrEqual(Math.min(a, b));
          expect(value).toBeLessThanOrEqual(Math.max(a, b));
          expect([1, 2, 5]).toContain(Number(value.toExponential().split("e")[0]));
        }
        expect(logTicks(Math.min(a, b), Math.max(a, b)).length).toBeLessThanOrEqual(6);
        const linear = linearTicks(a);
        expect(linear.length).toBeGreaterThan(0);
        expect(linear.length).toBeLessThanOrEqual(4);
        for (const value of linear) expect(value).toBeLessThanOrEqual(a * 1.000001);
      }),
    );
    for (const nothing of [logTicks(0, 10), logTicks(5, 5), logTicks(1, Number.POSITIVE_INFINITY), linearTicks(0)])
      expect(nothing).toEqual([]);
  });
});

describe("html", () => {
  it("html escapes every text so that it ends neither an attribute nor an element", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const markup = String(html`<p title="${text}">${text}</p>`);
        expect(markup.match(/[<>]/g)).toEqual(["<", ">", "<", ">"]);
        expect(markup.match(/"/g)).toHaveLength(2);
      }),
    );
    expect(String(html`${'<a href="x">&\u0007'}`)).toBe("&lt;a href=&quot;x&quot;&gt;&amp;\\x07");
    expect(String(html`<ul>${["a", "<b>"].map((item) => html`<li>${item}</li>`)}</ul>`)).toBe(
      "<ul><li>a</li><li>&lt;b&gt;</li></ul>",
    );
  });

  it("short cuts between characters, not inside one", () => {
    expect(short("👍👍👍👍", 3)).toBe("👍👍…");
    expect(short("abc", 3)).toBe("abc");
  });
});
