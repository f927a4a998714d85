import { describe, expect, it } from "vitest";
import { readCapture } from "../kit/captures.ts";
import { comparable, linesOf, MergeRun, type OutSpan } from "../kit/merge-run.ts";

/** Plays a capture with its access log; `rowsFirst` reads the rows before every line of error.log, as a poll may. */
async function played(name: string, rowsFirst: boolean, payloadsBetween: boolean): Promise<OutSpan[]> {
  const capture = readCapture(name);
  const run = await new MergeRun().start();
  const rows = (): Promise<void> => run.lines(linesOf(capture.accessLog), "/var/log/omni/nginx_access.log");
  const lines = (): Promise<void> => run.lines(linesOf(capture.errorLog));
  const [first, second] = rowsFirst ? [rows, lines] : [lines, rows];
  const sent: Promise<void>[] = [];
  await first();
  if (payloadsBetween) for (const { bytes } of capture.payloads) sent.push(run.spans(bytes));
  await second();
  if (!payloadsBetween) for (const { bytes } of capture.payloads) sent.push(run.spans(bytes));
  await run.clock.advance(30_000);
  await Promise.all(sent);
  await run.stop();
  return run.output();
}

/** Roots, states, parents, ids; not what a row alone can know less of (times that it rounds are replaced by the lines'). */
const texts = (spans: readonly OutSpan[]): Record<string, string> =>
  Object.fromEntries([...comparable(spans)].map(([key, { text }]) => [key, text]));

describe("request_merge", () => {
  it.each([
    "proxy-vllm/grpc",
    "proxy-vllm/grpc-trace-force-detailed",
    "proxy-vllm/vllm085-grpc-n2-crash",
    "proxy-mock/seq-failures",
    "proxy-mock/aggregation",
    "proxy-mock/seq-tokenizer",
    "proxy-mock/seq-trace-force",
  ])("makes the same traces of %s when access-log rows are read before the lines of their requests", async (name) => {
    const expected = texts(await played(name, false, false));
    expect(texts(await played(name, true, false))).toEqual(expected);
    expect(texts(await played(name, true, true))).toEqual(expected);
  });
});
