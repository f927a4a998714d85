import { describe, expect, it } from "vitest";
import { decodeSection } from "../../src/config/schema.ts";
import { Budget } from "../../src/extensions/filestorage/budget.ts";
import { SegmentLog } from "../../src/extensions/filestorage/log.ts";
import { StorageTelemetry } from "../../src/extensions/filestorage/telemetry.ts";
import { ConsumeError } from "../../src/kernel/errors.ts";
import type { StorageExtension } from "../../src/kernel/storage.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { batchProcessorFactory } from "../../src/processors/batch/factory.ts";
import { memoryLimiterFactory } from "../../src/processors/memorylimiter/factory.ts";
import { createExporter } from "../../src/sending/exporter.ts";
import { queueSchema } from "../../src/sending/queue-config.ts";
import { retrySchema } from "../../src/sending/retry.ts";
import { FakeClock, settle } from "../kit/clock.ts";
import { CrashDisk } from "../kit/crash-disk.ts";
import { LogBench } from "../kit/log-tail.ts";
import { requestLines, vllmSpan } from "../kit/made-up.ts";
import { attribute, comparable, MergeRun, type OutSpan } from "../kit/merge-run.ts";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const HOUR = 3_600_000;
const never = new AbortController().signal;

/** A clock whose wall time is set by `stepMs` after each `everyMs` of its own time, there and back. */
class SteppedClock extends FakeClock {
  readonly #stepMs: number;
  #steps = 0;

  constructor(stepMs: number) {
    super();
    this.#stepMs = stepMs;
  }

  override async advance(ms: number): Promise<void> {
    this.stepWall(this.#steps++ % 2 === 0 ? this.#stepMs : -this.#stepMs);
    await super.advance(ms);
  }
}

/** When what arrived, on the clock that never steps. */
type Diary = (readonly [atMs: number, what: string])[];

/** A diary that a sink keeps. */
function diaryOf(clock: FakeClock, sink: RecordingSink<"traces">): Diary {
  const diary: Diary = [];
  sink.fault = (batch) => void diary.push([clock.monotonic(), namesIn(batch.bytes).join(" ")]);
  return diary;
}

/** Each gives all that can be seen of a component's work, and must give the same whatever the wall clock does. */
const scenarios: Readonly<Record<string, (clock: FakeClock) => Promise<unknown>>> = {
  async batch(clock) {
    const sink = new RecordingSink<"traces">();
    const diary = diaryOf(clock, sink);
    const made = batchProcessorFactory.configure({ timeout: "1s", send_batch_size: 10 });
    const processor = made.create(testSettings("batch", { clock })).traces?.(sink) ?? expect.fail();
    await processor.start(new TestHost());
    for (let at = 0; at < 40; at++) {
      void processor.consume(spansNamed(`${at}`), {});
      await clock.advance((at * 7) % 13);
    }
    await clock.advance(2000);
    expect(sink.items).toBe(40);
    return diary;
  },

  async "an exporter's retries and queue"(clock) {
    const diary: Diary = [];
    let failures = 12;
    const exporter = createExporter({
      settings: testSettings("otlp_grpc", { clock }),
      send: async (batch) => {
        diary.push([clock.monotonic(), namesIn(batch.bytes).join(" ")]);
        if (failures-- > 0) throw new ConsumeError("retryable", "away", { retryAfterMs: failures * 100 });
      },
      timeoutMs: 5000,
      retry: decodeSection(retrySchema, { randomization_factor: 0, max_elapsed_time: "2m" }).config,
      queue: decodeSection(queueSchema, { num_consumers: 1, batch: { flush_timeout: "1s", min_size: 100 } }).config,
    });
    const traces = exporter.consumers.traces ?? expect.fail("the exporter takes traces");
    await exporter.start(new TestHost());
    for (let at = 0; at < 6; at++) {
      await traces.consume(spansNamed(`${at}`), {});
      await clock.advance(700);
    }
    for (let turn = 0; turn < 100; turn++) await clock.advance(2000);
    await exporter.shutdown(never);
    expect(diary.length).toBeGreaterThan(12);
    return diary;
  },

  async "a durable queue that is killed"(clock) {
    const diary: Diary = [];
    const open = async (disk: CrashDisk, isUp: () => boolean) => {
      const settings = testSettings("file_storage", { clock });
      const budget = new Budget(1 << 30);
      const telemetry = new StorageTelemetry(settings, budget);
      const storage: StorageExtension = {
        capacityBytes: budget.limit,
        start: async () => {},
        shutdown: async () => {},
        openLog: ({ purpose }) =>
          SegmentLog.open(purpose, disk, {
            budget,
            telemetry,
            clock,
            fsync: true,
            segmentBytes: 1 << 16,
            savers: new Set(),
          }),
        openMap: () => Promise.reject(new Error("not used")),
      };
      const exporter = createExporter({
        settings: testSettings("otlp_grpc", { clock }),
        send: async (batch) => {
          if (!isUp()) throw new ConsumeError("retryable", "away");
          diary.push([clock.monotonic(), namesIn(batch.bytes).join(" ")]);
        },
        timeoutMs: 5000,
        retry: decodeSection(retrySchema, { randomization_factor: 0, max_elapsed_time: 0 }).config,
        queue: decodeSection(queueSchema, { num_consumers: 1, storage: "file_storage" }).config,
      });
      const { traces } = exporter.consumers;
      await exporter.start(new TestHost({ file_storage: storage }));
      return traces ?? expect.fail("the exporter takes traces");
    };
    const disk = new CrashDisk();
    const first = await open(disk, () => false);
    for (let at = 0; at < 20; at++) {
      await first.consume(spansNamed(`${at}`), {});
      await clock.advance(100);
    }
    let isUp = false;
    await open(disk.kill(), () => isUp);
    await clock.advance(10_000);
    isUp = true;
    for (let turn = 0; turn < 20; turn++) await clock.advance(5000);
    expect(new Set(diary.map(([, name]) => name)).size).toBe(20);
    return diary;
  },

  async memory_limiter(clock) {
    let used = 0;
    const made = memoryLimiterFactory(() => ({
      total: 1e9,
      heapLimit: 1e9,
      read: () => ({ used, heap: 0 }),
      collect: () => {},
    })).configure({ check_interval: "1s", limit_mib: 100 });
    const sink = new RecordingSink<"traces">();
    const processor = made.create(testSettings("memory_limiter", { clock })).traces?.(sink) ?? expect.fail();
    await processor.start(new TestHost());
    const answers: boolean[] = [];
    for (let at = 0; at < 60; at++) {
      used = at % 20 < 10 ? 0 : 2e8;
      await clock.advance(500);
      answers.push(
        await processor.consume(spansNamed(`${at}`), {}).then(
          () => true,
          () => false,
        ),
      );
    }
    await processor.shutdown(never);
    expect(new Set(answers).size).toBe(2);
    return answers;
  },

  async omni_proxy_log(clock) {
    const bench = new LogBench();
    try {
      const tail = bench.tailOf("error.log", { start_at: "beginning" });
      // The receiver has a clock of its own here; its wall time is made this one's.
      const advance = async (ms: number): Promise<void> => {
        await clock.advance(ms);
        tail.clock.stepWall(clock.now() - tail.clock.now() - ms);
        await tail.clock.advance(ms);
        await tail.poll();
      };
      await bench.folder.write("error.log", "one\n");
      await tail.start();
      for (const round of [1, 2, 3]) {
        await bench.folder.append("error.log", `line ${round}\n`);
        await advance(1000);
        await bench.folder.rename("error.log", `error.log.${round}`);
        await bench.folder.write("error.log", `after rotation ${round}\n`);
        await advance(6000);
      }
      return tail.lines;
    } finally {
      await bench.end();
    }
  },
};

describe.each(Object.entries(scenarios))("%s", (_, scenario) => {
  it.each([
    ["forward", HOUR],
    ["back", -HOUR],
  ])("works as ever when the wall clock steps an hour %s, and back again, all the time", async (_, stepMs) => {
    const wanted = await scenario(new SteppedClock(0));
    expect(JSON.stringify(wanted).length).toBeGreaterThan(30);
    expect(await scenario(new SteppedClock(stepMs))).toEqual(wanted);
  });
});

describe("request_merge", () => {
  /** Requests that begin, get their spans and end while the process's wall clock is set again and again. */
  async function merged(stepMs: number): Promise<unknown> {
    const run = await new MergeRun().start();
    for (let at = 0; at < 30; at++) {
      run.clock.stepWall(at % 2 === 0 ? stepMs : -stepMs);
      const id = `request-${at}`;
      const lines = requestLines({ id, connection: at + 1, at: 100 + at * 3, end: at % 5 !== 0 });
      await run.lines(lines.slice(0, 8));
      const role = at % 2 === 0 ? "prefill" : "decode";
      const traceId = (at + 1).toString(16).padStart(32, "c");
      const taken = run.spans(encodeTraces([vllmSpan({ id: `cmpl-${id}-0`, role, at: 100 + at * 3, traceId })]));
      await run.clock.advance(700);
      await taken;
      await run.lines(lines.slice(8));
      await run.clock.advance(2300);
    }
    await run.clock.advance(16 * 60_000);
    await settle();
    const spans = run.output().map((span) => ({ ...span, spanId: span.service.startsWith("vllm") ? "" : span.spanId }));
    expect(spans.filter(({ name }) => name === "Trace for Omni Proxy")).toHaveLength(30);
    return [...comparable(spans)];
  }

  it.each([
    ["forward", HOUR],
    ["back", -HOUR],
  ])("makes the same traces when the wall clock steps an hour %s, and back again, all the time", async (_, stepMs) => {
    expect(await merged(stepMs)).toEqual(await merged(0));
  });
});

describe("request_merge on the log of a proxy whose wall clock is set", () => {
  /** Twelve requests, of which the later half begins after the clock was set; the sixth is open meanwhile. */
  async function merged(setSeconds: number): Promise<OutSpan[]> {
    const run = await new MergeRun().start();
    const requests = Array.from({ length: 12 }, (_, index) =>
      requestLines({
        id: `request-${index}`,
        connection: index + 1,
        at: 100 + index,
        set: index < 6 ? 0 : setSeconds,
      }),
    );
    for (const [index, lines] of requests.entries()) {
      await run.lines(index === 5 ? lines.slice(0, 9) : lines);
      if (index === 6) await run.lines(requests[5]?.slice(9) ?? []);
    }
    await run.clock.advance(30_000);
    return run.output();
  }

  /** When the spans of a request start, by name. */
  function startsOf(spans: readonly OutSpan[], index: number): Map<string, bigint> {
    const root = spans.find((span) => attribute(span, "request_id") === `request-${index}`);
    const own = spans.filter(({ traceId }) => traceId === root?.traceId);
    return new Map(own.map(({ name, startUnixNano }) => [name, startUnixNano]));
  }

  it.each([
    ["forward", 3600],
    ["back", -3600],
  ])("gives every request the time in which it began when it is set an hour %s", async (_, seconds) => {
    const [wanted, spans] = [await merged(0), await merged(seconds)];
    for (let index = 0; index < 12; index++) {
      const [before, after] = [startsOf(wanted, index), startsOf(spans, index)];
      expect(before.size).toBe(14);
      const shift = index < 6 ? 0n : BigInt(seconds) * 1_000_000_000n;
      for (const [name, nanos] of before)
        expect(Math.abs(Number((after.get(name) ?? 0n) - nanos - shift)), `${name} of ${index}`).toBeLessThan(1000);
    }
  });
});
