import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../test/kit/clock.ts";
import { namesIn, spansNamed } from "../../test/kit/named-spans.ts";
import { decodeSection } from "../config/schema.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { SendingQueue } from "./queue.ts";
import { type QueueConfig, queueSchema } from "./queue-config.ts";
import type { AnyBatch, Sender } from "./sender.ts";
import { MemoryStorage } from "./storage.ts";

const config = (over: object = {}): QueueConfig => decodeSection(queueSchema, over).config;
const batchOf = (items: number, size = items): AnyBatch => ({
  signal: "traces",
  bytes: new Uint8Array(size).fill(items),
  items,
});

/** A sender whose calls wait to be answered by the test. */
class Held {
  readonly calls: { batch: AnyBatch; ok: () => void; fail: (error: Error) => void }[] = [];
  readonly send: Sender = (batch) =>
    new Promise((ok, fail) => {
      this.calls.push({ batch, ok, fail });
    });

  get items(): number[] {
    return this.calls.map((call) => call.batch.items);
  }
}

async function started(over: object, send: Sender, clock = new FakeClock()) {
  const dropped: { error: ConsumeError; items: number }[] = [];
  const refused: AnyBatch[] = [];
  const queue = new SendingQueue(config(over), {
    clock,
    storage: new MemoryStorage(),
    send,
    triesAgain: true,
    onRefused: (batch) => refused.push(batch),
    division: { maxRequests: 0, onDivide() {} },
    onFailed: async (failed, isAwaited) => {
      if (!isAwaited) for (const { failure, part } of failed) dropped.push({ error: failure, items: part.items });
    },
    onLost: () => {},
  });
  await queue.start();
  return { queue, dropped, refused, clock };
}

const patient = new AbortController().signal;

describe("queueSchema", () => {
  it("has the Collector's defaults, and batches nothing unless told", () => {
    expect(decodeSection(queueSchema, undefined).effective).toEqual({
      enabled: true,
      num_consumers: 10,
      queue_size: 1000,
      sizer: "requests",
      block_on_overflow: false,
      wait_for_result: false,
    });
    expect(config({ batch: null }).batch).toEqual({ flush_timeout: 200, min_size: 8192, max_size: 0 });
  });

  it.each([
    [{ num_consumers: 0 }, "num_consumers: must be at least 1, got 0"],
    [{ queue_size: 0 }, "queue_size: must be at least 1, got 0"],
    [{ sizer: "spans" }, 'sizer: expected one of "requests", "items", "bytes", got string "spans"'],
    [
      { batch: { max_size: 10, min_size: 20 } },
      "batch::max_size: `max_size` (10) must be greater or equal to `min_size` (20)",
    ],
    [{ batch: { flush_timeout: 0 } }, "batch::flush_timeout: `flush_timeout` must be positive"],
    [
      { sizer: "items", queue_size: 100, batch: {} },
      "batch::min_size: `min_size` (8192) must be less than or equal to `queue_size` (100)",
    ],
    [{ storage: "file storage" }, 'storage: in "file storage" id: invalid character(s) in type "file storage"'],
    [
      { storage: "file_storage", wait_for_result: true },
      "wait_for_result: `wait_for_result` is not supported with a persistent queue configured with `storage`",
    ],
  ])("refuses %j", (over, message) => {
    expect(() => config(over)).toThrow(message);
  });
});

describe("SendingQueue", () => {
  it("offer resolves before the batch is sent, and sends in order with num_consumers at once", async () => {
    const held = new Held();
    const { queue } = await started({ num_consumers: 2 }, held.send);
    for (const items of [1, 2, 3]) await queue.offer(batchOf(items));
    await settle();
    expect(held.items).toEqual([1, 2]);
    held.calls[0]?.ok();
    await settle();
    expect(held.items).toEqual([1, 2, 3]);
  });

  it.each([
    ["requests", { queue_size: 2 }],
    ["items", { queue_size: 20, sizer: "items" }],
    ["bytes", { queue_size: 200, sizer: "bytes" }],
  ])(
    "offer refuses with UNAVAILABLE and a short hint when full, counting in %s what is being sent",
    async (_, over) => {
      const held = new Held();
      const { queue, refused } = await started({ ...over, num_consumers: 1 }, held.send);
      await queue.offer(batchOf(10, 100));
      await queue.offer(batchOf(10, 100));
      expect(queue.size).toBe(queue.capacity);
      await expect(queue.offer(batchOf(1, 1))).rejects.toMatchObject({
        disposition: "retryable",
        message: "sending queue is full",
        grpcCode: 14,
        retryAfterMs: 1000,
      });
      expect(refused).toHaveLength(1);
      held.calls[0]?.ok();
      await settle();
      await queue.offer(batchOf(1, 1));
      expect(queue.size).toBeLessThanOrEqual(queue.capacity);
    },
  );

  it("offer refuses for good what can never fit", async () => {
    const { queue } = await started({ sizer: "items", queue_size: 5 }, new Held().send);
    await expect(queue.offer(batchOf(6))).rejects.toMatchObject({
      disposition: "permanent",
      message: "element size too large: 6 items never fit into queue_size 5; raise queue_size or send smaller batches",
    });
  });

  it("offer waits for room in order when block_on_overflow is set", async () => {
    const held = new Held();
    const over = { sizer: "items", queue_size: 10, block_on_overflow: true, num_consumers: 1 };
    const { queue } = await started(over, held.send);
    const admitted: string[] = [];
    await queue.offer(batchOf(10));
    const big = queue.offer(batchOf(8)).then(() => admitted.push("big"));
    const small = queue.offer(batchOf(1)).then(() => admitted.push("small"));
    await settle();
    expect(admitted).toEqual([]);
    held.calls[0]?.ok();
    await Promise.all([big, small]);
    expect(admitted).toEqual(["big", "small"]);
  });

  it("offer stops waiting for room when the caller gives up, and lets the next one in", async () => {
    const held = new Held();
    const { queue } = await started({ queue_size: 1, block_on_overflow: true }, held.send);
    const caller = new AbortController();
    await queue.offer(batchOf(1));
    const gone = queue.offer(batchOf(2), caller.signal).catch((error: unknown) => error);
    const stays = queue.offer(batchOf(3));
    caller.abort(new Error("deadline exceeded"));
    expect(await gone).toMatchObject({ disposition: "retryable", message: "deadline exceeded" });
    held.calls[0]?.ok();
    await stays;
    await settle();
    expect(held.items).toEqual([1, 3]);
  });

  it("offer gives every caller its own result when wait_for_result is set, also for one batch offered twice", async () => {
    const held = new Held();
    const { queue, dropped } = await started({ wait_for_result: true }, held.send);
    const same = batchOf(4);
    const first = queue.offer(same);
    const second = queue.offer(same).catch((error: unknown) => error);
    await settle();
    held.calls[0]?.ok();
    held.calls[1]?.fail(new ConsumeError("permanent", "bad data"));
    await first;
    expect(await second).toMatchObject({ disposition: "permanent", message: "bad data" });
    expect(dropped).toEqual([]);
    expect(queue.size).toBe(0);
  });

  it("offer gives the result when the sender answers at once", async () => {
    const { queue } = await started({ wait_for_result: true }, async () => {
      throw new ConsumeError("permanent", "no");
    });
    await expect(queue.offer(batchOf(1))).rejects.toThrow("no");
  });

  it("reports what the sender gave up on, and goes on", async () => {
    const { queue, dropped } = await started({ num_consumers: 1 }, async (batch) => {
      if (batch.items === 2) throw new ConsumeError("permanent", "no more retries left");
    });
    for (const items of [1, 2, 3]) await queue.offer(batchOf(items));
    await settle();
    expect(dropped).toEqual([{ error: expect.any(ConsumeError), items: 2 }]);
    expect(queue.size).toBe(0);
  });

  it("shutdown sends everything that was taken, and refuses what comes after", async () => {
    const sent: number[] = [];
    const { queue } = await started({ num_consumers: 3 }, async (batch) => {
      sent.push(batch.items);
    });
    for (let items = 1; items <= 500; items++) await queue.offer(batchOf(items));
    const lost = await queue.shutdown(patient);
    expect(sent).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
    expect(lost).toEqual({ requests: 0, items: 0, bytes: 0 });
    await expect(queue.offer(batchOf(1))).rejects.toMatchObject({ disposition: "retryable" });
  });

  it("shutdown tells what is lost when the deadline comes first", async () => {
    const deadline = new AbortController();
    const { queue, dropped } = await started(
      { num_consumers: 2 },
      (_batch, signal) => new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
    );
    for (let items = 1; items <= 5; items++) await queue.offer(batchOf(items, 10));
    const done = queue.shutdown(deadline.signal);
    await settle();
    deadline.abort();
    expect(await done).toEqual({ requests: 3, items: 3 + 4 + 5, bytes: 30 });
    expect(dropped.map(({ items }) => items)).toEqual([1, 2]);
  });

  it("shutdown answers callers that wait for room and for results", async () => {
    const deadline = new AbortController();
    const over = { queue_size: 1, block_on_overflow: true, wait_for_result: true };
    const { queue } = await started(
      over,
      (_batch, signal) => new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
    );
    const result = queue.offer(batchOf(1)).catch((error: Error) => error.message);
    const room = queue.offer(batchOf(2)).catch((error: Error) => error.message);
    await settle();
    const done = queue.shutdown(deadline.signal);
    expect(await room).toBe("the exporter is shutting down");
    deadline.abort();
    await done;
    expect(await result).toBe("the exporter was shut down before an answer came");
  });

  it("shutdown ends at once when nothing was started", async () => {
    const queue = new SendingQueue(config(), {
      clock: new FakeClock(),
      storage: new MemoryStorage(),
      send: new Held().send,
      triesAgain: true,
      onRefused() {},
      division: { maxRequests: 0, onDivide() {} },
      async onFailed() {},
      onLost() {},
    });
    expect(await queue.shutdown(patient)).toEqual({ requests: 0, items: 0, bytes: 0 });
  });
});

describe("SendingQueue with batch", () => {
  it("joins batches until min_size, in one request whose bytes are the others' in order", async () => {
    const held = new Held();
    const { queue, clock } = await started({ batch: { min_size: 6 } }, held.send);
    for (const items of [1, 2, 3, 4]) await queue.offer(batchOf(items));
    await settle();
    expect(held.items).toEqual([6]);
    expect([...(held.calls[0]?.batch.bytes ?? [])]).toEqual([1, 2, 2, 3, 3, 3]);
    await clock.advance(199);
    expect(held.items).toEqual([6]);
    await clock.advance(1);
    expect(held.items).toEqual([6, 4]);
  });

  it("counts a group as held until it was answered", async () => {
    const held = new Held();
    const { queue } = await started({ queue_size: 3, batch: { min_size: 2 } }, held.send);
    for (const items of [1, 1, 1]) await queue.offer(batchOf(items));
    await settle();
    expect(queue.size).toBe(3);
    held.calls[0]?.ok();
    await settle();
    expect(queue.size).toBe(1);
  });

  it.each([
    ["items", 3, [3, 3, 3, 1]],
    ["bytes", 30, undefined],
  ])("sends parts of max_size %s, every span once and in order", async (sizer, max_size, expected) => {
    const sent: AnyBatch[] = [];
    const { queue } = await started({ batch: { min_size: 1, max_size, sizer } }, async (part) => {
      sent.push(part);
    });
    const names = Array.from({ length: 10 }, (_, at) => `span-${at}`);
    await queue.offer(spansNamed(...names));
    await settle();
    expect(sent.flatMap(({ bytes }) => namesIn(bytes))).toEqual(names);
    if (expected) expect(sent.map(({ items }) => items)).toEqual(expected);
    else for (const { bytes, items } of sent) if (items > 1) expect(bytes.length).toBeLessThanOrEqual(max_size);
    expect(sent.length).toBeGreaterThan(1);
  });

  it("reports only the parts that the sender gave up on", async () => {
    const { queue, dropped } = await started({ batch: { min_size: 4, max_size: 4 } }, async (part) => {
      if (part.items < 4) throw new ConsumeError("permanent", "bad data");
    });
    await queue.offer(spansNamed("a", "b", "c", "d", "e"));
    await settle();
    expect(dropped.map(({ items }) => items)).toEqual([1]);
    expect(queue.size).toBe(0);
  });

  it("shutdown sends a group that is not full", async () => {
    const sent: number[] = [];
    const { queue } = await started({ batch: {} }, async (batch) => {
      sent.push(batch.items);
    });
    for (const items of [1, 2]) await queue.offer(batchOf(items));
    await queue.shutdown(patient);
    expect(sent).toEqual([3]);
  });
});
