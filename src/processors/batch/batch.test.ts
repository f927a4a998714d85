import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../../test/kit/clock.ts";
import { spansNamed } from "../../../test/kit/named-spans.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import { RecordingSink } from "../../../test/kit/sink.ts";
import { decodeSection } from "../../config/schema.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Traces } from "../../pdata/payload.ts";
import { type Clock, sleep } from "../../telemetry/clock.ts";
import { BatchProcessor } from "./batch.ts";
import { batchSchema } from "./config.ts";
import { QUIET_MS } from "./shard.ts";

/** A request with so many spans. */
const request = (items: number, name = "span"): Traces =>
  spansNamed(...Array.from({ length: items }, (_, at) => `${name}${at}`));

function made(over: object = {}, clock: Clock = new FakeClock()) {
  const sink = new RecordingSink<"traces">();
  const settings = testSettings("batch", { clock });
  const processor = new BatchProcessor<"traces">(decodeSection(batchSchema, over).config, settings, sink);
  const sizes = (): number[] => sink.batches.map((batch) => batch.items);
  return { sink, processor, sizes, metrics: settings.metrics };
}

const unhurried = new AbortController().signal;

describe("batchSchema", () => {
  it("has the Collector's defaults", () => {
    expect(decodeSection(batchSchema, undefined).effective).toEqual({
      timeout: "200ms",
      send_batch_size: 8192,
      send_batch_max_size: 0,
      metadata_keys: [],
      metadata_cardinality_limit: 1000,
    });
  });

  it.each([
    [
      { send_batch_max_size: 1000 },
      "send_batch_max_size: send_batch_max_size must be greater or equal to send_batch_size, got 1000 and 8192",
    ],
    [
      { metadata_keys: ["Tenant", "tenant"] },
      'metadata_keys::1: duplicate entry in metadata_keys: "tenant" (case-insensitive)',
    ],
    [{ timeout: "-1s" }, 'timeout: time: invalid duration "-1s"'],
    [{ send_batch_sise: 1 }, "did you mean `send_batch_size`?"],
  ])("refuses %j", (over, message) => {
    expect(() => decodeSection(batchSchema, over)).toThrow(message);
  });
});

describe("BatchProcessor", () => {
  it("consume hands a batch on at once, as the same bytes, when nothing came before it", async () => {
    const { sink, processor } = made();
    const batch = request(3);
    await processor.consume(batch, {});
    expect(sink.batches[0]?.bytes).toBe(batch.bytes);
  });

  it("consume resolves only when next has accepted the flush", async () => {
    const clock = new FakeClock();
    const { sink, processor } = made({}, clock);
    let accept = (): void => {};
    sink.fault = () => new Promise((resolve) => (accept = resolve));
    let resolved = false;
    const done = processor.consume(request(1), {}).then(() => {
      resolved = true;
    });
    await clock.advance(10_000);
    expect(resolved).toBe(false);
    accept();
    await done;
    expect(sink.items).toBe(1);
  });

  it("consume joins what comes under load, byte for byte and in order", async () => {
    const clock = new FakeClock();
    const { sink, processor, sizes } = made({}, clock);
    const batches = [request(1, "a"), request(2, "b"), request(3, "c")];
    const all = Promise.all(batches.map((batch) => processor.consume(batch, {})));
    await clock.advance(QUIET_MS);
    await all;
    expect(sizes()).toEqual([1, 5]);
    expect(sink.bytes).toEqual(Buffer.concat(batches.map((batch) => batch.bytes)));
  });

  it("consume rejects every caller of a flush with the same error when next refuses it", async () => {
    const clock = new FakeClock();
    const { sink, processor } = made({}, clock);
    await processor.consume(request(1), {});
    const full = new ConsumeError("retryable", "sending queue is full", { grpcCode: 14, retryAfterMs: 1000 });
    sink.fault = () => {
      throw full;
    };
    const outcomes = [1, 2, 3].map((items) => processor.consume(request(items), {}).catch((error: unknown) => error));
    await clock.advance(QUIET_MS);
    expect(await Promise.all(outcomes)).toEqual([full, full, full]);
    sink.fault = undefined;
    await clock.advance(QUIET_MS);
    await processor.consume(request(4), {});
  });

  it("consume sends at send_batch_size without waiting", async () => {
    const clock = new FakeClock();
    const { processor, sizes } = made({ send_batch_size: 10 }, clock);
    await processor.consume(request(1), {});
    await Promise.all([processor.consume(request(6), {}), processor.consume(request(4), {})]);
    expect(sizes()).toEqual([1, 10]);
    expect(clock.pending).toBe(0);
  });

  it("consume sends after timeout when batches keep coming", async () => {
    const clock = new FakeClock();
    const { processor, sizes } = made({ timeout: "50ms" }, clock);
    await processor.consume(request(1), {});
    const waiting: Promise<void>[] = [];
    for (let ms = 0; ms < 60; ms += 2) {
      waiting.push(processor.consume(request(1), {}));
      await clock.advance(2);
    }
    expect(sizes()).toEqual([1, 25]);
    await clock.advance(QUIET_MS);
    await Promise.all(waiting);
    expect(sizes()).toEqual([1, 25, 5]);
  });

  it.each([{ timeout: 0 }, { send_batch_size: 0 }])("consume does not collect when %j", async (over) => {
    const { processor, sizes } = made(over);
    await Promise.all([1, 2, 3].map((items) => processor.consume(request(items), {})));
    expect(sizes()).toEqual([1, 2, 3]);
  });

  it("consume is not held up by an earlier flush that next does not answer", async () => {
    const clock = new FakeClock();
    const { sink, processor } = made({}, clock);
    sink.fault = (batch) => (batch.items === 1 ? new Promise(() => {}) : undefined);
    void processor.consume(request(1), {});
    const second = processor.consume(request(2), {});
    await clock.advance(QUIET_MS);
    await second;
    expect(sink.items).toBe(2);
  });

  it("consume tells next when the last of its callers has given up", async () => {
    const clock = new FakeClock();
    const { processor, sink } = made({}, clock);
    const given: AbortSignal[] = [];
    sink.consume = async (_batch, call) => {
      if (call.signal) given.push(call.signal);
      await new Promise(() => {});
    };
    void processor.consume(request(1), {});
    const [one, two] = [new AbortController(), new AbortController()];
    void processor.consume(request(1), { signal: one.signal });
    void processor.consume(request(1), { signal: two.signal });
    await clock.advance(QUIET_MS);
    one.abort();
    expect(given[1]?.aborted).toBe(false);
    two.abort();
    expect(given.map((signal) => signal.aborted)).toEqual([false, true]);
  });

  it("consume forgets an empty batch", async () => {
    const { processor, sizes } = made();
    await processor.consume({ signal: "traces", bytes: new Uint8Array(0), items: 0 }, {});
    expect(sizes()).toEqual([]);
  });

  it("consume sends parts of send_batch_max_size, and a retryable failure of one part decides", async () => {
    const clock = new FakeClock();
    const { sink, processor, sizes } = made({ send_batch_size: 4, send_batch_max_size: 4 }, clock);
    await processor.consume(request(10), {});
    expect(sizes()).toEqual([4, 4, 2]);
    let part = 0;
    sink.fault = () => {
      part++;
      if (part === 1) throw new ConsumeError("permanent", "bad data");
      if (part === 2) throw new ConsumeError("retryable", "busy");
    };
    await expect(processor.consume(request(10), {})).rejects.toMatchObject({ disposition: "retryable" });
    expect(part).toBe(3);
  });

  it("consume keeps apart what differs in a metadata key, unset and empty too, and hands on those keys only", async () => {
    const { sink, processor } = made({ metadata_keys: ["Tenant"] });
    const seen: unknown[] = [];
    sink.consume = async (batch, call) => {
      seen.push([batch.items, [...(call.metadata ?? [])]]);
    };
    const as = (values: string[] | undefined) => ({
      metadata: new Map([["other", ["x"]], ...(values ? [["tenant", values] as const] : [])]),
    });
    await Promise.all([
      processor.consume(request(1), as(["a"])),
      processor.consume(request(2), as(["b"])),
      processor.consume(request(3), as([])),
      processor.consume(request(4), as(undefined)),
    ]);
    expect(seen).toEqual([
      [1, [["tenant", ["a"]]]],
      [2, [["tenant", ["b"]]]],
      [3, [["tenant", []]]],
      [4, []],
    ]);
  });

  it("consume refuses a new combination beyond metadata_cardinality_limit, and takes the known ones", async () => {
    const { processor, sizes } = made({ metadata_keys: ["tenant"], metadata_cardinality_limit: 2, timeout: 0 });
    const as = (tenant: string) => ({ metadata: new Map([["tenant", [tenant]]]) });
    await processor.consume(request(1), as("a"));
    await processor.consume(request(1), as("b"));
    await expect(processor.consume(request(1), as("c"))).rejects.toMatchObject({
      disposition: "permanent",
      message: expect.stringContaining("too many batcher metadata-value combinations"),
    });
    await processor.consume(request(2), as("a"));
    expect(sizes()).toEqual([1, 1, 2]);
  });

  it("shutdown flushes what waits and resolves when it was accepted", async () => {
    const clock = new FakeClock();
    const { processor, sizes } = made({}, clock);
    await processor.consume(request(1), {});
    const waiting = processor.consume(request(2), {});
    await processor.shutdown(unhurried);
    await waiting;
    expect(sizes()).toEqual([1, 2]);
    await expect(processor.consume(request(3), {})).rejects.toMatchObject({ disposition: "retryable" });
    await processor.shutdown(unhurried);
  });

  it("shutdown resolves at the deadline when next does not answer", async () => {
    const { processor, sink } = made();
    sink.fault = () => new Promise(() => {});
    void processor.consume(request(1), {});
    const deadline = new AbortController();
    const done = processor.shutdown(deadline.signal);
    await settle();
    deadline.abort();
    await done;
  });

  it("counts its flushes by trigger under the Collector's names", async () => {
    const clock = new FakeClock();
    const { processor, metrics } = made({ send_batch_size: 4 }, clock);
    await processor.consume(request(1), {});
    await processor.consume(request(4), {});
    const quiet = processor.consume(request(1), {});
    await clock.advance(QUIET_MS);
    await quiet;
    const text = await metrics.text();
    expect(text).toContain('otelcol_processor_batch_batch_size_trigger_send{processor="batch"} 1');
    expect(text).toContain('otelcol_processor_batch_timeout_trigger_send{processor="batch"} 0');
    expect(text).toContain('omnishim_processor_batch_early_trigger_send{processor="batch",reason="idle"} 1');
    expect(text).toContain('omnishim_processor_batch_early_trigger_send{processor="batch",reason="quiet"} 1');
    expect(text).toContain('otelcol_processor_batch_batch_send_size_sum{processor="batch"} 6');
    expect(text).toContain('otelcol_processor_batch_metadata_cardinality{processor="batch"} 1');
  });
});

/** `count` senders, each sending its next request 1 ms after the answer to the last one, for a second. */
async function load(count: number) {
  const clock = new FakeClock();
  const { processor, sizes } = made({}, clock);
  const latencies: number[] = [];
  const senders = Array.from({ length: count }, async () => {
    while (clock.monotonic() < 1000) {
      const sentAt = clock.monotonic();
      await processor.consume(request(100), {});
      latencies.push(clock.monotonic() - sentAt);
      await sleep(clock, 1);
    }
  });
  await clock.advance(1500);
  await Promise.all(senders);
  return { latencies, sizes: sizes() };
}

describe("BatchProcessor under load", () => {
  it("costs a single sender at most the quiet time a request, not the timeout", async () => {
    const { latencies } = await load(1);
    expect(Math.max(...latencies)).toBeLessThanOrEqual(QUIET_MS);
    expect(latencies.length).toBeGreaterThan(100);
  });

  it("still makes large batches of 64 concurrent senders", async () => {
    const { latencies, sizes } = await load(64);
    const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
    expect(mean).toBeGreaterThan(0.9 * 64 * 100);
    expect(Math.max(...latencies)).toBeLessThanOrEqual(2 * QUIET_MS);
  });
});
