/** Log file -> omni_proxy_log -> request_merge: how the lines came into the file makes no difference to the traces. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requestMergeConnectorFactory } from "../../src/connectors/requestmerge/factory.ts";
import type { Component, Consumer, Consumers } from "../../src/kernel/api.ts";
import { type Capture, readCapture } from "../kit/captures.ts";
import { FakeClock } from "../kit/clock.ts";
import { LogFolder, TestTail } from "../kit/log-tail.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";
import { readSpans } from "../kit/spans.ts";

/** nginx writes a line at once, so its files change between lines; readers may come anywhere. */
type Step =
  | { readonly kind: "append"; readonly bytes: number }
  | { readonly kind: "poll" }
  | { readonly kind: "rename" }
  | { readonly kind: "spans" };

const plans: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("append" as const), bytes: fc.integer({ min: 1, max: 60_000 }) }),
    fc.constantFrom<Step>({ kind: "poll" }, { kind: "poll" }, { kind: "rename" }, { kind: "spans" }),
  ),
  { maxLength: 40 },
);

const never = new AbortController().signal;

/** Plays a capture's log through a file and both components, and its payloads into the connector. @returns the spans, sorted */
async function play(capture: Capture, plan: readonly Step[], folder: LogFolder): Promise<string[]> {
  const traces = new RecordingSink<"traces">();
  const clock = new FakeClock();
  const connector: Component & { consumers: Consumers } = requestMergeConnectorFactory
    .configure({})
    .create(testSettings("request_merge", { clock }))({ traces }, ["logs", "traces"]);
  const logs = connector.consumers.logs as Consumer<"logs">;
  const spans = connector.consumers.traces as Consumer<"traces">;
  const tail = new TestTail({ include: [folder.at("error.log")] }, undefined, logs);
  const { errorLog } = capture;
  const payloads = [...capture.payloads];
  const taken: Promise<void>[] = [];
  let written = 0;
  let rotations = 0;
  const append = async (to: number): Promise<void> => {
    await folder.append("error.log", errorLog.subarray(written, to));
    written = Math.min(to, errorLog.length);
  };
  const sendSpans = (): void => {
    const payload = payloads.shift();
    if (payload)
      taken.push(spans.consume({ signal: "traces", bytes: payload.bytes, items: readSpans(payload.bytes).length }, {}));
  };

  try {
    await folder.write("error.log", "");
    await connector.start(new TestHost());
    await tail.start();
    for (const step of plan) {
      if (step.kind === "append") await append(written + step.bytes);
      else if (step.kind === "poll") await tail.poll();
      else if (step.kind === "spans") sendSpans();
      else {
        await append(errorLog.indexOf(10, written) + 1 || errorLog.length);
        await folder.rename("error.log", `error.log.${++rotations}`);
        await folder.write("error.log", "");
        await tail.poll();
      }
    }
    await append(errorLog.length);
    await tail.poll();
    while (payloads.length > 0) sendSpans();
    await clock.advance(30_000);
    await Promise.all(taken);
  } finally {
    await tail.stop();
    await connector.shutdown(never);
    folder.remove();
  }
  return readSpans(traces.bytes)
    .map(({ traceId, spanId, raw, around }) =>
      [traceId, spanId, raw.toString("hex"), around.resource.toString("hex")].join(" "),
    )
    .sort();
}

describe("omni_proxy_log with request_merge", () => {
  it.each(["proxy-vllm/grpc", "proxy-vllm/grpc-trace-force-detailed", "proxy-mock/seq-failures", "proxy-mock/seq-odd"])(
    "gives the same traces of %s at any chunking, with rotation in between and spans before or after their lines",
    async (name) => {
      const capture = readCapture(name);
      // One folder name for all runs: the path names the log's source.
      const path = new LogFolder().path;
      const atOnce = await play(capture, [], new LogFolder(path));
      expect(atOnce.length).toBeGreaterThan(100);
      await fc.assert(
        fc.asyncProperty(plans, async (plan) => {
          expect(await play(capture, plan, new LogFolder(path))).toEqual(atOnce);
        }),
        { numRuns: 8 },
      );
    },
  );
});
