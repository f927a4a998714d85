import { describe, expect, it } from "vitest";
import { memoryLimiterFactory } from "../../src/processors/memorylimiter/factory.ts";
import { refusal } from "../../src/receivers/otlp/outcome.ts";
import { FakeClock } from "../kit/clock.ts";
import { errorOf, faultPlans, seededRandom } from "../kit/fault-plan.ts";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const MIB = 1024 * 1024;
const SECTION = { check_interval: "1s", limit_mib: 100 };

/** A memory_limiter before `sink`, and the memory that it sees. */
function made(sink: RecordingSink<"traces">, section: object = SECTION) {
  const memory = { usedMib: 10, collections: 0 };
  const clock = new FakeClock();
  const settings = testSettings("memory_limiter", { clock });
  const factory = memoryLimiterFactory(() => ({
    total: 1000 * MIB,
    heapLimit: 1000 * MIB,
    read: () => ({ used: memory.usedMib * MIB, heap: 0 }),
    collect: () => void memory.collections++,
  }));
  const create = factory.configure(section).create;
  const processor = create(settings).traces?.(sink) ?? expect.fail("memory_limiter takes traces");
  return { processor, memory, clock, settings, create };
}

describe("memory_limiter keeps the life-cycle contract", () => {
  it("shutdown is legal before start and idempotent after it", async () => {
    const { processor, clock } = made(new RecordingSink());
    await processor.shutdown(AbortSignal.abort());
    const other = made(new RecordingSink());
    await other.processor.start(new TestHost());
    await other.processor.shutdown(AbortSignal.abort());
    await other.processor.shutdown(AbortSignal.abort());
    expect([clock.pending, other.clock.pending]).toEqual([0, 0]);
  });

  it("refuses an unknown key with its path", () => {
    expect(() => made(new RecordingSink(), { ...SECTION, limit_mb: 1 })).toThrow(
      /^limit_mb: .*did you mean `limit_mib`/,
    );
  });
});

describe("memory_limiter", () => {
  it("refuses so that the otlp receiver answers UNAVAILABLE or 503 and says when to come again, at most in 3 s", async () => {
    const sink = new RecordingSink<"traces">();
    const { processor, memory, clock, settings } = made(sink, { ...SECTION, check_interval: "5s" });
    await processor.start(new TestHost());
    await processor.consume(spansNamed("taken"), {});
    memory.usedMib = 100;
    await clock.advance(5000);
    const error: unknown = await processor.consume(spansNamed("a", "b"), {}).catch((reason: unknown) => reason);
    expect(refusal(error as never)).toMatchObject({
      code: 14,
      message: "data refused due to high memory usage",
      retryAfterMs: 3000,
    });
    expect(memory.collections).toBe(1);
    memory.usedMib = 20;
    await clock.advance(5000);
    await processor.consume(spansNamed("again"), {});
    expect(namesIn(sink.bytes)).toEqual(["taken", "again"]);
    const metrics = await settings.metrics.text();
    for (const line of [
      'otelcol_processor_memory_limiter_accepted_spans{processor="memory_limiter"} 2',
      'otelcol_processor_memory_limiter_refused_spans{processor="memory_limiter"} 2',
      'otelcol_processor_refused_spans{processor="memory_limiter"} 2',
      `omnishim_memory_limiter_limit_bytes{processor="memory_limiter"} ${100 * MIB}`,
      `omnishim_memory_limiter_soft_limit_bytes{processor="memory_limiter"} ${80 * MIB}`,
    ])
      expect(metrics).toContain(line);
    await processor.shutdown(AbortSignal.abort());
  });

  it("is one for all pipelines that name it", async () => {
    const { processor, memory, clock, settings, create } = made(new RecordingSink());
    const logs = create(settings).logs?.(new RecordingSink()) ?? expect.fail("memory_limiter takes logs");
    await processor.start(new TestHost());
    await logs.start(new TestHost());
    memory.usedMib = 100;
    await clock.advance(1000);
    expect(memory.collections).toBe(1);
    await expect(logs.consume({ signal: "logs", bytes: Buffer.alloc(0), items: 1 }, {})).rejects.toThrow("refused");
    await processor.shutdown(AbortSignal.abort());
    await expect(logs.consume({ signal: "logs", bytes: Buffer.alloc(0), items: 1 }, {})).rejects.toThrow("refused");
    await logs.shutdown(AbortSignal.abort());
    await clock.advance(200);
    expect(clock.pending).toBe(0);
  });

  it.each(faultPlans)("loses nothing when its destination $name and memory comes and goes", async ({ plan }) => {
    const random = seededRandom(3);
    const sink = new RecordingSink<"traces">();
    sink.fault = () => {
      const error = errorOf(plan(random));
      if (error) throw error;
    };
    const { processor, memory, clock } = made(sink);
    await processor.start(new TestHost());
    const accepted: string[] = [];
    let refusals = 0;
    for (let at = 0; at < 300; at++) {
      memory.usedMib = random() < 0.3 ? 120 : 10;
      if (random() < 0.5) await clock.advance(1000);
      await processor.consume(spansNamed(`${at}`), {}).then(
        () => accepted.push(`${at}`),
        () => refusals++,
      );
    }
    expect(namesIn(sink.bytes)).toEqual(accepted);
    expect(refusals).toBeGreaterThan(20);
    expect(accepted.length).toBeGreaterThan(50);
    await processor.shutdown(AbortSignal.abort());
  });
});
