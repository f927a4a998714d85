import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Capture, readCapture } from "../kit/captures.ts";
import { attribute, comparable, linesOf, MergeRun, type OutSpan, spansOf } from "../kit/merge-run.ts";

const SPAN_WAIT_MS = 500;

/** Everything at once, log first: what any other order must equal. */
async function reference(capture: Capture): Promise<OutSpan[]> {
  const run = await new MergeRun().start();
  await run.lines(linesOf(capture.errorLog));
  for (const { bytes } of capture.payloads) await run.spans(bytes);
  await run.clock.advance(30_000);
  await run.stop();
  return run.output();
}

/** For each payload: how many lines must have been read for all its requests to have ended. */
function linesNeeded(capture: Capture, lines: readonly Buffer[]): number[] {
  const last = new Map<string, number>();
  for (const [at, line] of lines.entries()) {
    const id = /RequestID:(.{0,36}?)(?: while |, client: |$)/s.exec(line.toString("latin1"))?.[1];
    if (id !== undefined) last.set(id, at + 1);
  }
  return capture.payloads.map(({ bytes }) => {
    const texts = spansOf(bytes).flatMap(({ attributes }) =>
      attributes
        .filter(({ key }) => key === "gen_ai.request.id")
        .map(({ value }) => Buffer.from(String(value)).toString("latin1")),
    );
    return Math.max(
      0,
      ...[...last]
        .filter(([id]) =>
          texts.some((text) => text.includes(id) || id.startsWith(text.replace(/^\w+-/, "").slice(0, 36))),
        )
        .map(([, at]) => at),
    );
  });
}

/** A schedule in which no line comes more than `span_wait` after a span that needs it. */
async function scheduled(
  capture: Capture,
  seed: { cuts: number[]; gapsMs: number[]; leadMs: number[]; order: number[] },
): Promise<OutSpan[]> {
  const run = await new MergeRun().start();
  const lines = linesOf(capture.errorLog);
  const cuts = [...new Set([...seed.cuts.map((cut) => Math.floor(cut * lines.length)), lines.length])]
    .filter((cut) => cut > 0)
    .sort((a, b) => a - b);
  const needed = linesNeeded(capture, lines);
  const events: { atMs: number; rank: number; run: () => Promise<void> }[] = [];
  const readAt: { upTo: number; atMs: number }[] = [];
  let atMs = 0;
  cuts.forEach((cut, i) => {
    const from = cuts[i - 1] ?? 0;
    atMs += (seed.gapsMs[i % seed.gapsMs.length] as number) % 200;
    readAt.push({ upTo: cut, atMs });
    events.push({ atMs, rank: i, run: () => run.lines(lines.slice(from, cut)) });
  });
  const acks: Promise<void>[] = [];
  capture.payloads.forEach(({ bytes }, i) => {
    const complete = readAt.find(({ upTo }) => upTo >= (needed[i] as number))?.atMs ?? 0;
    // From just inside span_wait before its lines to three seconds after them.
    const at = Math.max(0, complete - (SPAN_WAIT_MS - 1) + ((seed.leadMs[i % seed.leadMs.length] as number) % 3500));
    events.push({
      atMs: at,
      rank: seed.order[i % seed.order.length] as number,
      run: async () => void acks.push(run.spans(bytes)),
    });
  });
  events.sort((a, b) => a.atMs - b.atMs || a.rank - b.rank);
  let now = 0;
  for (const event of events) {
    await run.clock.advance(event.atMs - now);
    now = event.atMs;
    await event.run();
  }
  await run.clock.advance(30_000);
  await Promise.all(acks);
  await run.stop();
  return run.output();
}

function expectEqualTraces(actual: readonly OutSpan[], wanted: readonly OutSpan[]): void {
  const [a, b] = [comparable(actual), comparable(wanted)];
  expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
  for (const [key, { text, startUs }] of b) {
    expect(a.get(key)?.text).toBe(text);
    // One pair of stamps is within 6 ms (seen on captures); the stated uncertainty is checked where the clock is tested.
    expect(Math.abs((a.get(key)?.startUs as number) - startUs)).toBeLessThan(6_500);
  }
}

const schedules = fc.record({
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 60 }),
  gapsMs: fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 }),
  leadMs: fc.array(fc.nat(3499), { minLength: 1, maxLength: 20 }),
  order: fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }),
});

describe.each(["proxy-vllm/grpc", "proxy-vllm/grpc-trace-force-detailed", "proxy-vllm/vllm085-grpc-n2-crash"])(
  "request_merge on %s",
  (name) => {
    it("makes equal traces at any chunking and order when lines come within span_wait of their spans", {
      timeout: 120_000,
    }, async () => {
      const capture = readCapture(name);
      const wanted = await reference(capture);
      await fc.assert(
        fc.asyncProperty(schedules, async (seed) => expectEqualTraces(await scheduled(capture, seed), wanted)),
        { numRuns: 12, seed: 7 },
      );
    });

    it("keeps the set of spans when spans come long before their lines", { timeout: 60_000 }, async () => {
      const capture = readCapture(name);
      const run = await new MergeRun().start();
      const acks = capture.payloads.map(({ bytes }) => run.spans(bytes));
      await run.clock.advance(5_000);
      await Promise.all(acks);
      await run.lines(linesOf(capture.errorLog));
      await run.clock.advance(60_000);
      await run.stop();
      const early = run.output();
      const wanted = await reference(capture);
      const vllm = (spans: readonly OutSpan[]): string[] =>
        spans
          .filter((span) => span.service !== "omni-proxy")
          .map((span) => `${span.spanId} ${span.name} ${span.startUnixNano}`)
          .sort();
      expect(vllm(early)).toEqual(vllm(wanted));
      expect(early.filter((span) => span.name === "Trace for Omni Proxy")).toHaveLength(
        wanted.filter((span) => span.name === "Trace for Omni Proxy").length,
      );
      const traces = (spans: readonly OutSpan[]): string[] =>
        [
          ...new Set(
            spans
              .filter((span) => span.name === "Trace for Omni Proxy")
              .map((span) => String(attribute(span, "request_id")).slice(0, 36)),
          ),
        ].sort();
      expect(traces(early)).toEqual(traces(wanted));
      // Whatever trace a request's spans were given early, its root took over.
      const rootTraces = new Set(
        early.filter((span) => span.name === "Trace for Omni Proxy").map((span) => span.traceId),
      );
      const strays = early.filter(
        (span) => span.name === "llm_request" && span.attributes.length > 0 && !rootTraces.has(span.traceId),
      );
      expect(strays.map((span) => span.spanId)).toEqual([]);
    });
  },
);
