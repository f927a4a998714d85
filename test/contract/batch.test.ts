import { describe, expect, it } from "vitest";
import type { ConsumeError } from "../../src/kernel/errors.ts";
import { batchProcessorFactory } from "../../src/processors/batch/factory.ts";
import { errorOf, faultPlans, seededRandom } from "../kit/fault-plan.ts";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const unhurried = new AbortController().signal;

function made(section: object, sink: RecordingSink<"traces">) {
  const make = batchProcessorFactory.configure(section).create(testSettings("batch")).traces;
  return make?.(sink) ?? expect.fail("batch takes traces");
}

describe("batch keeps the life-cycle contract", () => {
  it("shutdown is legal before start and idempotent after it", async () => {
    await made({}, new RecordingSink()).shutdown(unhurried);
    const processor = made({}, new RecordingSink());
    await processor.start(new TestHost());
    await processor.shutdown(unhurried);
    await processor.shutdown(unhurried);
  });

  it("refuses an unknown key with its path", () => {
    expect(() => batchProcessorFactory.configure({ tiemout: "1s" })).toThrow(/^tiemout: .*did you mean `timeout`/);
  });
});

describe.each(faultPlans)("batch loses nothing when its destination $name", ({ plan, refusesForGood }) => {
  it.each([
    ["its defaults", {}],
    ["small batches", { send_batch_size: 20, send_batch_max_size: 25, timeout: "3ms" }],
    ["no collecting", { timeout: 0 }],
  ])("with %s: accepted is at the sink, refused was told", async (_, section) => {
    const random = seededRandom(7);
    const sink = new RecordingSink<"traces">();
    sink.fault = () => {
      const error = errorOf(plan(random));
      if (error) throw error;
    };
    const processor = made(section, sink);
    await processor.start(new TestHost());
    const accepted: string[] = [];
    const refused: string[] = [];
    const senders = Array.from({ length: 16 }, async (_, sender) => {
      for (let request = 0; request < 40; request++) {
        const names = Array.from({ length: 1 + ((sender + request) % 5) }, (_, at) => `${sender}/${request}/${at}`);
        for (;;) {
          const failure: ConsumeError | undefined = await processor.consume(spansNamed(...names), {}).then(
            () => undefined,
            (error: ConsumeError) => error,
          );
          if (failure?.disposition === "retryable") continue;
          (failure ? refused : accepted).push(...names);
          break;
        }
      }
    });
    await Promise.all(senders);
    await processor.shutdown(unhurried);
    const atSink = new Set(namesIn(sink.bytes));
    expect(accepted.filter((name) => !atSink.has(name))).toEqual([]);
    expect(accepted.length + refused.length).toBe(new Set([...accepted, ...refused]).size);
    expect(refused.length > 0).toBe(refusesForGood);
  });
});
