import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../../test/kit/clock.ts";
import { CrashDisk, errno } from "../../../test/kit/crash-disk.ts";
import { namesIn, spansNamed } from "../../../test/kit/named-spans.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import { decodeSection } from "../../config/schema.ts";
import type { Component, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { StorageExtension } from "../../kernel/storage.ts";
import type { Traces } from "../../pdata/payload.ts";
import { ContentError } from "../../sending/divide.ts";
import { createExporter } from "../../sending/exporter.ts";
import { queueSchema } from "../../sending/queue-config.ts";
import { retrySchema } from "../../sending/retry.ts";
import type { AnyBatch, Sender } from "../../sending/sender.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { Budget } from "./budget.ts";
import { SegmentLog } from "./log.ts";
import { StorageTelemetry } from "./telemetry.ts";

const traces = (items: number, size = items): Traces => ({ signal: "traces", bytes: Buffer.alloc(size, items), items });
const never = new AbortController().signal;
const away = (): ConsumeError => new ConsumeError("retryable", "nobody is there", { grpcCode: 14 });

interface RunOptions {
  readonly send: Sender;
  readonly disk?: CrashDisk;
  readonly queue?: object;
  readonly retry?: object;
}

/** An exporter with a durable queue on `disk`, as the service would run it. */
async function run({ send, disk = new CrashDisk(), queue = {}, retry = {} }: RunOptions) {
  const clock = new FakeClock();
  const metrics = createMetrics();
  const said: [string, Readonly<Record<string, unknown>> | undefined][] = [];
  const say = (message: string, fields?: Readonly<Record<string, unknown>>): void => {
    said.push([message, fields]);
  };
  const logger: Settings["logger"] = { debug: say, info: say, warn: say, error: say, with: () => logger };
  const settings = testSettings("otlp_grpc", { clock, metrics, logger });
  const budget = new Budget(1 << 30);
  const telemetry = new StorageTelemetry(testSettings("file_storage"), budget);
  const extension: StorageExtension = {
    start: async () => {},
    shutdown: async () => {},
    capacityBytes: Number.POSITIVE_INFINITY,
    openLog: ({ purpose }) =>
      SegmentLog.open(purpose, disk, {
        budget,
        telemetry,
        clock,
        fsync: true,
        segmentBytes: 1 << 20,
        savers: new Set(),
      }),
    openMap: () => Promise.reject(new Error("not used")),
  };
  const exporter = createExporter({
    settings,
    send,
    retry: decodeSection(retrySchema, { initial_interval: "1s", max_interval: "1s", max_elapsed_time: "3s", ...retry })
      .config,
    queue: decodeSection(queueSchema, { storage: "file_storage", ...queue }).config,
    split: { enabled: true, max_requests: 100 },
  });
  const { traces: consumer } = exporter.consumers;
  if (!consumer) throw new Error("no consumer");
  await exporter.start(new TestHost({ file_storage: extension as Component }));
  return {
    exporter,
    clock,
    disk,
    said,
    consume: (batch: Traces) => consumer.consume(batch, {}),
    metric: async (name: string) => Number(new RegExp(`^${name}\\S* (\\S+)$`, "m").exec(await metrics.text())?.[1]),
  };
}

/** A peer that records and answers as told. */
class Peer {
  readonly got: number[] = [];
  answer: (batch: AnyBatch) => void | Promise<void> = () => {};
  readonly send: Sender = async (batch) => {
    await this.answer(batch);
    this.got.push(batch.items);
  };
}

describe("an exporter whose sending_queue has a storage", () => {
  it("acknowledges what is on the disk, and sends it after a power failure", async () => {
    const peer = new Peer();
    const first = await run({ send: () => new Promise(() => {}) });
    for (const items of [1, 2, 3]) await first.consume(traces(items));
    await run({ send: peer.send, disk: first.disk.crash(() => 0) });
    await settle();
    expect(peer.got.sort()).toEqual([1, 2, 3]);
  });

  it("sends nothing again that was delivered before", async () => {
    const peer = new Peer();
    const first = await run({ send: peer.send });
    for (const items of [1, 2, 3]) await first.consume(traces(items));
    await settle();
    expect(peer.got).toEqual([1, 2, 3]);
    await run({ send: peer.send, disk: first.disk.kill() });
    await settle();
    expect(peer.got).toEqual([1, 2, 3]);
  });

  it("sends the very bytes and counts of an earlier run", async () => {
    const batches: AnyBatch[] = [];
    const first = await run({ send: () => new Promise(() => {}) });
    const batch: Traces = { signal: "traces", bytes: Buffer.from("any bytes"), items: 42 };
    await first.consume(batch);
    const second = await run({ send: async (got) => void batches.push(got), disk: first.disk.kill() });
    await settle();
    expect(batches).toEqual([batch]);
    expect(await second.metric("otelcol_exporter_sent_spans")).toBe(42);
  });

  it("keeps a batch until every part of it is answered, and counts once what was refused", async () => {
    const got: string[] = [];
    let isAway = true;
    const send: Sender = async ({ bytes }) => {
      const names = namesIn(bytes);
      if (names.includes("bad")) throw new ContentError("bad span", { grpcCode: 3 });
      if (isAway && names.includes("late")) throw away();
      got.push(...names);
    };
    const first = await run({ send });
    await first.consume(spansNamed("a", "b", "bad", "late"));
    await first.clock.advance(2000);
    expect(got).toEqual(["a", "b"]);
    expect(await first.metric("otelcol_exporter_send_failed_spans")).toBe(0);
    // Killed between the answers: all of it comes again.
    const second = await run({ send, disk: first.disk.kill() });
    await second.clock.advance(5000);
    expect(await second.metric("otelcol_exporter_queue_size")).toBe(1);
    isAway = false;
    await second.clock.advance(10_000);
    expect([...new Set(got)].sort()).toEqual(["a", "b", "late"]);
    expect(got.filter((name) => name === "late")).toHaveLength(1);
    expect(await second.metric("otelcol_exporter_send_failed_spans")).toBe(1);
    expect(await second.metric("otelcol_exporter_queue_size")).toBe(0);
    // Everything is answered: nothing comes again.
    await run({ send: async () => expect.fail("sent again"), disk: second.disk.kill() });
    await settle();
  });

  it("does not acknowledge what the disk refuses, and tells the sender when to come again", async () => {
    const peer = new Peer();
    const { disk, consume, metric } = await run({ send: peer.send });
    await consume(traces(1));
    disk.fault = (call) => (call === "write" ? errno("ENOSPC") : undefined);
    await expect(consume(traces(2))).rejects.toMatchObject({
      disposition: "retryable",
      grpcCode: 8,
      retryAfterMs: 2000,
    });
    expect(await metric("otelcol_exporter_enqueue_failed_spans")).toBe(2);
    disk.fault = undefined;
    await consume(traces(3));
    await settle();
    expect(peer.got).toEqual([1, 3]);
    expect(await metric("otelcol_exporter_queue_size")).toBe(0);
  });

  it("never gives up on a peer that is away: after max_elapsed_time others go first, and nothing counts as failed", async () => {
    const peer = new Peer();
    peer.answer = (batch) => {
      if (batch.items === 1) throw away();
    };
    const { consume, clock, metric } = await run({ send: peer.send, queue: { num_consumers: 1 } });
    await consume(traces(1));
    await consume(traces(2));
    await settle();
    expect(peer.got).toEqual([]);
    await clock.advance(4000);
    expect(peer.got).toEqual([2]);
    expect(await metric("otelcol_exporter_send_failed_spans")).toBe(0);
    expect(await metric("otelcol_exporter_queue_size")).toBe(1);
    peer.answer = () => {};
    await clock.advance(4000);
    expect(peer.got).toEqual([2, 1]);
    expect(await metric("otelcol_exporter_queue_size")).toBe(0);
  });

  it("does not ask a peer in a tight loop that says to come much later", async () => {
    const peer = new Peer();
    let asked = 0;
    peer.answer = () => {
      asked++;
      throw new ConsumeError("retryable", "later", { grpcCode: 8, retryAfterMs: 600_000 });
    };
    const { consume, clock } = await run({ send: peer.send });
    await consume(traces(1));
    await clock.advance(120_000);
    expect(asked).toBe(3);
  });

  it("drops what a peer refuses for good, and what it refuses for now when retry_on_failure is off", async () => {
    for (const [error, retry] of [
      [new ConsumeError("permanent", "bad", { grpcCode: 16 }), {}],
      [away(), { enabled: false }],
    ] as const) {
      const peer = new Peer();
      peer.answer = () => {
        throw error;
      };
      const { consume, metric, disk, exporter } = await run({ send: peer.send, retry });
      await consume(traces(5));
      await settle();
      expect(await metric("otelcol_exporter_send_failed_spans")).toBe(5);
      expect(await metric("otelcol_exporter_queue_size")).toBe(0);
      await exporter.shutdown(never);
      expect(disk.names).toEqual([]);
    }
  });

  it("shutdown sends what a peer takes, and keeps all of it when the peer is away", async () => {
    const peer = new Peer();
    peer.answer = () => {
      throw away();
    };
    const first = await run({ send: peer.send, queue: { num_consumers: 2 } });
    for (const items of [1, 2, 3, 4]) await first.consume(traces(items));
    await settle();
    await first.exporter.shutdown(never);
    expect(first.said.at(-1)).toEqual([
      "Stopped before everything was sent: 10 spans stay in the storage and are sent after the next start.",
      { requests: 4, data_type: "traces" },
    ]);
    expect(await first.metric("otelcol_exporter_send_failed_spans")).toBe(0);

    peer.answer = () => {};
    const second = await run({ send: peer.send, disk: first.disk });
    await second.exporter.shutdown(never);
    expect(peer.got.sort()).toEqual([1, 2, 3, 4]);
    expect(first.disk.names).toEqual([]);
  });

  it("shutdown keeps what is on its way when the deadline comes first", async () => {
    const first = await run({ send: () => new Promise(() => {}) });
    await first.consume(traces(7));
    await settle();
    await first.exporter.shutdown(AbortSignal.abort(new Error("too late")));
    const peer = new Peer();
    await run({ send: peer.send, disk: first.disk });
    await settle();
    expect(peer.got).toEqual([7]);
  });

  it.each([
    ["requests", 2, 2],
    ["items", 30, 30],
    ["bytes", 300, 300],
  ])(
    "counts in %s what an earlier run left, and refuses when that fills the queue",
    async (sizer, queue_size, size) => {
      const first = await run({ send: () => new Promise(() => {}) });
      await first.consume(traces(10, 100));
      await first.consume(traces(20, 200));
      const second = await run({
        send: () => new Promise(() => {}),
        disk: first.disk.kill(),
        queue: { sizer, queue_size },
      });
      expect(await second.metric("otelcol_exporter_queue_size")).toBe(size);
      await expect(second.consume(traces(1))).rejects.toThrow("sending queue is full");
    },
  );

  it("reads from the disk what does not fit into memory", async () => {
    const peer = new Peer();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const digests: string[] = [];
    peer.answer = async (batch) => {
      await gate;
      digests.push(`${batch.bytes.length} ${batch.bytes[0]} ${batch.bytes.at(-1)}`);
    };
    const { consume } = await run({ send: peer.send, queue: { num_consumers: 1 } });
    const size = 5 * 1024 * 1024;
    for (let items = 1; items <= 6; items++) await consume(traces(items, size));
    release();
    await settle();
    await settle();
    expect(digests).toEqual([1, 2, 3, 4, 5, 6].map((items) => `${size} ${items} ${items}`));
  });

  it("counts a record that is damaged later as failed, says so, and goes on", async () => {
    const first = await run({ send: () => new Promise(() => {}) });
    for (const items of [1, 2, 3]) await first.consume(traces(items));
    const disk = first.disk.kill();
    const peer = new Peer();
    let release = (): void => {};
    peer.answer = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const second = await run({ send: peer.send, disk, queue: { num_consumers: 1 } });
    await settle();
    const [file] = disk.names.filter((name) => name.endsWith(".log")) as [string];
    disk.damage(file, (bytes) => {
      bytes[bytes.indexOf(Buffer.from([2, 2]))] = 0;
      return bytes;
    });
    peer.answer = () => {};
    release();
    await settle();
    expect(peer.got).toEqual([1, 3]);
    expect(await second.metric("otelcol_exporter_send_failed_spans")).toBe(2);
    expect(await second.metric("otelcol_exporter_queue_size")).toBe(0);
    expect(second.said).toContainEqual([
      "Stored data is damaged. Dropping it.",
      { dropped_items: 2, data_type: "traces" },
    ]);
  });

  it("tries again later when reading fails for now", async () => {
    const first = await run({ send: () => new Promise(() => {}) });
    await first.consume(traces(1));
    const disk = first.disk.kill();
    disk.fault = (call) => (call === "read" ? errno("EMFILE") : undefined);
    const peer = new Peer();
    const { clock } = await run({ send: peer.send, disk });
    await clock.advance(3000);
    expect(peer.got).toEqual([]);
    disk.fault = undefined;
    await clock.advance(3000);
    expect(peer.got).toEqual([1]);
  });

  it("start fails with the id when the extension is not there", async () => {
    const exporter = createExporter({
      settings: testSettings("otlp_grpc"),
      send: async () => {},
      queue: decodeSection(queueSchema, { storage: "file_storage/other" }).config,
    });
    void exporter.consumers.traces;
    await expect(exporter.start(new TestHost())).rejects.toThrow(
      'storage client extension "file_storage/other" not found: list it in service::extensions',
    );
  });
});
