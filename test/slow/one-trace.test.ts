import { expect, it } from "vitest";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { requestLines, vllmSpan } from "../kit/made-up.ts";
import { MergeRun } from "../kit/merge-run.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPANS_A_STEP = 1000;
/** Of these, requests that the log tells of. */
const KNOWN_A_STEP = 5;

const idOf = (n: number): string => `${String(n).padStart(8, "0")}-f627-4fa3-940a-a2862a68a07a`;

it("request_merge keeps the heap flat and loses nothing when one trace id comes with a million request ids", async () => {
  const run = await new MergeRun({ wait: "1s", span_wait: "500ms" }).start();
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error("run me with --expose-gc: npm run test:slow");
  const out = { together: 0, engine: 0 };
  const count = (): void => {
    for (const span of run.output()) {
      if (span.traceId === TRACE) out.together++;
      if (span.name === "llm_request") out.engine++;
    }
    run.sink.batches.length = 0;
  };
  const heapAfter = async (from: number, to: number): Promise<number> => {
    for (let n = from; n < to; n += SPANS_A_STEP) {
      const at = 100 + n / SPANS_A_STEP;
      const known = Array.from({ length: KNOWN_A_STEP }, (_, i) => idOf(n + i));
      const traceparent = `00-${TRACE}-00f067aa0ba902b7-01`;
      await run.lines(known.flatMap((id, i) => requestLines({ id, connection: n + i, at, traceparent })));
      const ids = Array.from({ length: SPANS_A_STEP }, (_, i) => `cmpl-${idOf(n + i)}-0`);
      const taken = run.spans(encodeTraces(ids.map((id) => vllmSpan({ id, role: "decode", at, traceId: TRACE }))));
      await run.clock.advance(1000);
      await taken;
      count();
    }
    await run.clock.advance(10_000);
    count();
    gc();
    return process.memoryUsage().heapUsed;
  };
  const small = await heapAfter(0, 100_000);
  const large = await heapAfter(100_000, 1_000_000);
  console.log(
    `heap after 100,000 ids ${(small / 2 ** 20).toFixed(1)} MiB, after 1,000,000 ${(large / 2 ** 20).toFixed(1)} MiB`,
  );
  expect(large / small).toBeLessThan(1.1);
  await run.stop();
  count();
  expect(out.engine).toBe(1_000_000);
  // What the log does not tell of goes to the trace that its request's UUID names.
  const known = (1_000_000 / SPANS_A_STEP) * KNOWN_A_STEP;
  expect(await run.metric("omnishim_requests_seen")).toBe(known);
  expect(out.together).toBeGreaterThan(10 * known);
  expect(out.together % known).toBe(0);
});
