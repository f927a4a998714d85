import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namesIn, spansNamed } from "../../test/kit/named-spans.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { ContentError, sendDividing, TooLargeError } from "./divide.ts";

const patient = new AbortController().signal;
const away = new ConsumeError("retryable", "connection refused");

/** Sends spans "0", "1", ... to a peer that takes no request with a bad one in it. */
async function searched(spans: number, isBad: (span: number) => boolean, maxRequests = 100_000, largest = spans) {
  const taken: string[] = [];
  const divided: number[] = [];
  let requests = 0;
  const { failed, kept } = await sendDividing(
    async (batch) => {
      requests++;
      const names = namesIn(batch.bytes);
      expect(names).toHaveLength(batch.items);
      if (names.length > largest) throw new TooLargeError("message larger than max", { grpcCode: 8 });
      if (names.some((name) => isBad(Number(name)))) throw new ContentError("bad span", { grpcCode: 3 });
      taken.push(...names);
    },
    [spansNamed(...Array.from({ length: spans }, (_, at) => String(at)))],
    patient,
    { maxRequests, onDivide: (_, batch) => divided.push(batch.items), isKept: () => false },
  );
  expect(kept).toBeUndefined();
  return { taken, requests, divided, failed: failed.flatMap(({ part }) => namesIn(part.bytes)) };
}

const spansAndBad = fc
  .integer({ min: 1, max: 120 })
  .chain((spans) => fc.tuple(fc.constant(spans), fc.uniqueArray(fc.integer({ min: 0, max: spans - 1 }))));
const all = (spans: number): string[] => Array.from({ length: spans }, (_, at) => String(at));
const sorted = (names: readonly string[]): string[] => [...names].sort((a, b) => Number(a) - Number(b));

describe("sendDividing", () => {
  it("delivers every good span once and gives up every bad one, whichever they are", async () => {
    await fc.assert(
      fc.asyncProperty(spansAndBad, async ([spans, bad]) => {
        const { taken, failed, requests } = await searched(spans, (span) => bad.includes(span));
        expect(sorted([...taken, ...failed])).toEqual(all(spans));
        if (taken.length === 0) {
          // Not one sixteenth was taken: that is no part at fault.
          expect(requests).toBeLessThanOrEqual(31);
          if (spans <= 16) expect(failed).toHaveLength(bad.length);
        } else {
          expect(sorted(failed)).toEqual(sorted(bad.map(String)));
          expect(requests).toBeLessThanOrEqual(1 + 2 * bad.length * Math.ceil(Math.log2(spans)));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("spends no more than maxRequests, and accounts for every span once all the same", async () => {
    await fc.assert(
      fc.asyncProperty(spansAndBad, fc.integer({ min: 0, max: 60 }), async ([spans, bad], maxRequests) => {
        const { taken, failed, requests } = await searched(spans, (span) => bad.includes(span), maxRequests);
        expect(requests).toBeLessThanOrEqual(Math.max(1, maxRequests));
        expect(sorted([...taken, ...failed])).toEqual(all(spans));
        expect(taken.filter((name) => bad.includes(Number(name)))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it("delivers what is good and small enough of a batch that is also too large", async () => {
    await fc.assert(
      fc.asyncProperty(spansAndBad, fc.integer({ min: 1, max: 120 }), async ([spans, bad], largest) => {
        const { taken, failed } = await searched(spans, (span) => bad.includes(span), 100_000, largest);
        expect(sorted([...taken, ...failed])).toEqual(all(spans));
        if (taken.length > 0) expect(sorted(failed)).toEqual(sorted(bad.map(String)));
      }),
      { numRuns: 100 },
    );
  });

  it("finds one bad span of 8192 with 27 requests", async () => {
    const { failed, requests } = await searched(8192, (span) => span === 4711);
    expect(failed).toEqual(["4711"]);
    expect(requests).toBe(27);
  });

  it("stops after sixteenths when the peer refuses everything", async () => {
    const { failed, requests, divided } = await searched(8192, () => true);
    expect(requests).toBe(31);
    expect(failed).toHaveLength(8192);
    expect(Math.min(...divided)).toBe(1024);
  });

  it("gives a refused batch up whole when nothing is to be looked for", async () => {
    const { failed, requests } = await searched(10, (span) => span === 3, 0);
    expect(requests).toBe(1);
    expect(failed).toHaveLength(10);
  });

  it("does not divide what is refused for who sends it", async () => {
    let requests = 0;
    const { failed } = await sendDividing(
      async () => {
        requests++;
        throw new ConsumeError("permanent", "Unauthenticated: no token", { grpcCode: 16 });
      },
      [spansNamed("a", "b"), spansNamed("c")],
      patient,
      { maxRequests: 100, onDivide: () => expect.fail("divided"), isKept: () => false },
    );
    expect(requests).toBe(2);
    expect(failed.map(({ part }) => part.items)).toEqual([2, 1]);
  });

  it("reports nothing as failed, and stops, when a part keeps its batch in the queue", async () => {
    const sent: string[][] = [];
    const { failed, kept } = await sendDividing(
      async ({ bytes }) => {
        const names = namesIn(bytes);
        sent.push(names);
        if (names.includes("bad")) throw new ContentError("bad span", { grpcCode: 3 });
        if (names.includes("late")) throw away;
      },
      [spansNamed("bad", "a", "late", "b"), spansNamed("c")],
      patient,
      { maxRequests: 100, onDivide() {}, isKept: (failure) => failure.disposition === "retryable" },
    );
    expect(sent).toEqual([
      ["bad", "a", "late", "b"],
      ["bad", "a"],
      ["late", "b"],
    ]);
    expect(failed).toEqual([]);
    expect(kept).toBe(away);
  });
});
