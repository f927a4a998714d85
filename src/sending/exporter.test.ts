import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../test/kit/clock.ts";
import { namesIn, spansNamed } from "../../test/kit/named-spans.ts";
import { TestHost, testSettings } from "../../test/kit/settings.ts";
import { decodeSection } from "../config/schema.ts";
import type { Component, Consumers } from "../kernel/api.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import { TooLargeError } from "./divide.ts";
import { createExporter, type ExporterOptions } from "./exporter.ts";
import { queueSchema } from "./queue-config.ts";
import { retrySchema } from "./retry.ts";
import type { Sender } from "./sender.ts";

const patient = new AbortController().signal;
const away = new ConsumeError("retryable", "connection refused");
const never: Sender = () => new Promise(() => {});

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

function made(send: Sender, over: { retry?: object; queue?: object } & Pick<ExporterOptions, "open" | "close"> = {}) {
  const clock = new FakeClock();
  const lines: Line[] = [];
  const logger = createLogger({
    level: "info",
    encoding: "json",
    write: (line) => lines.push(JSON.parse(line) as Line),
  });
  const settings = testSettings("otlp_grpc/jaeger", { clock, logger });
  const { retry, queue, ...options } = over;
  const exporter: Component & { readonly consumers: Consumers } = createExporter({
    settings,
    send,
    timeoutMs: 5000,
    retry: decodeSection(retrySchema, retry).config,
    queue: decodeSection(queueSchema, queue).config,
    ...options,
  });
  const { traces } = exporter.consumers;
  return {
    clock,
    lines,
    exporter,
    consume: (...names: string[]) => traces?.consume(spansNamed(...names), {}) ?? expect.fail("no traces"),
    metric: async (name: string) => {
      const text = await settings.metrics.text();
      return new RegExp(`^otelcol_exporter_${name}\\{(.*)\\} (\\d+)$`, "m").exec(text)?.slice(1).join(" ");
    },
  };
}

describe("createExporter", () => {
  it("counts under the Collector's names", async () => {
    const { exporter, consume, metric } = made(async () => {});
    await exporter.start(new TestHost());
    await consume("a", "b");
    await settle();
    expect(await metric("sent_spans")).toBe('exporter="otlp_grpc/jaeger" 2');
    expect(await metric("send_failed_spans")).toBe('exporter="otlp_grpc/jaeger" 0');
    expect(await metric("enqueue_failed_spans")).toBe('exporter="otlp_grpc/jaeger" 0');
    const labels = 'exporter="otlp_grpc/jaeger",data_type="traces"';
    expect(await metric("queue_capacity")).toBe(`${labels} 1000`);
    expect(await metric("queue_size")).toBe(`${labels} 0`);
    expect(await metric("in_flight_requests")).toBe(`${labels} 0`);
    expect(await metric("sent_log_records")).toBeUndefined();
  });

  it("shows how full the queue is and how many requests are under way while the peer hangs", async () => {
    const { exporter, consume, metric } = made(never, { queue: { num_consumers: 2, queue_size: 5 } });
    await exporter.start(new TestHost());
    for (const name of ["a", "b", "c"]) await consume(name);
    await settle();
    expect(await metric("in_flight_requests")).toMatch(/ 2$/);
    expect(await metric("queue_size")).toMatch(/ 3$/);
  });

  it("counts and refuses what a full queue cannot take", async () => {
    const { exporter, consume, metric } = made(never, { queue: { queue_size: 1 } });
    await exporter.start(new TestHost());
    await consume("a");
    await expect(consume("b", "c")).rejects.toThrow("sending queue is full");
    expect(await metric("enqueue_failed_spans")).toMatch(/ 2$/);
  });

  it("retries until the peer takes it, and says so once in ten seconds", async () => {
    let tries = 0;
    const send: Sender = async () => {
      if (++tries <= 3) throw away;
    };
    const { exporter, consume, metric, clock, lines } = made(send, { retry: { randomization_factor: 0 } });
    await exporter.start(new TestHost());
    await consume("a");
    await clock.advance(60_000);
    expect(tries).toBe(4);
    expect(await metric("sent_spans")).toMatch(/ 1$/);
    expect(await metric("send_failed_spans")).toMatch(/ 0$/);
    expect(lines).toMatchObject([
      { msg: "Exporting failed. Will retry the request after interval.", error: "connection refused", interval: "5s" },
      { interval: "11.25s", unlogged_failures: 1 },
    ]);
  });

  it("counts and says what it gives up on", async () => {
    const send: Sender = async () => {
      throw new ConsumeError("permanent", "Unauthenticated: no token");
    };
    const { exporter, consume, metric, clock, lines } = made(send);
    await exporter.start(new TestHost());
    for (let at = 0; at < 5; at++) await consume("a", "b");
    await clock.advance(10_000);
    await consume("a", "b");
    await settle();
    expect(await metric("send_failed_spans")).toMatch(/ 12$/);
    expect(lines).toMatchObject([
      { level: "error", msg: "Exporting failed. Dropping data.", error: "Unauthenticated: no token", dropped_items: 2 },
      { dropped_items: 10, unlogged_failures: 4 },
    ]);
  });

  it("bounds an attempt by its timeout and retries it", async () => {
    let tries = 0;
    const send: Sender = async (batch, signal) => {
      if (++tries === 1) await never(batch, signal);
    };
    const { exporter, consume, metric, clock } = made(send);
    await exporter.start(new TestHost());
    await consume("a");
    await clock.advance(20_000);
    expect(tries).toBe(2);
    expect(await metric("sent_spans")).toMatch(/ 1$/);
  });

  it("lets the caller wait for the outcome when there is no queue", async () => {
    const { consume, exporter, metric } = made(
      async () => {
        throw new ConsumeError("permanent", "bad data", { grpcCode: 3 });
      },
      { queue: { enabled: false } },
    );
    await exporter.start(new TestHost());
    await expect(consume("a")).rejects.toMatchObject({ disposition: "permanent", grpcCode: 3 });
    expect(await metric("queue_size")).toBeUndefined();
  });

  it("stops sending without a queue when the caller gives up", async () => {
    const { exporter } = made(never, { queue: { enabled: false } });
    const caller = new AbortController();
    const outcome = exporter.consumers.traces?.consume(spansNamed("a"), { signal: caller.signal });
    caller.abort(new Error("deadline exceeded"));
    await expect(outcome).rejects.toMatchObject({ disposition: "retryable", message: "deadline exceeded" });
  });

  it.each([
    ["a queue", {}],
    ["no queue", { enabled: false }],
  ])(
    "sends in halves what the peer finds too large, and loses only what is too large alone, with %s",
    async (_, queue) => {
      const got: string[] = [];
      const { exporter, consume, metric, lines } = made(
        async (batch) => {
          if (batch.items > 2 || namesIn(batch.bytes).includes("monster"))
            throw new TooLargeError("received message larger than max", { grpcCode: 8 });
          got.push(...namesIn(batch.bytes));
        },
        { queue },
      );
      await exporter.start(new TestHost());
      const outcome = await consume("a", "b", "c", "monster", "d", "e", "f").catch((error: unknown) => error);
      await settle();
      expect(got).toEqual(["a", "b", "c", "d", "e", "f"]);
      expect(await metric("sent_spans")).toMatch(/ 6$/);
      expect(await metric("send_failed_spans")).toMatch(/ 1$/);
      expect(lines[0]).toMatchObject({ level: "warn", msg: expect.stringContaining("sent in parts"), items: 7 });
      if ("enabled" in queue) expect(outcome).toMatchObject({ disposition: "permanent" });
      else expect(lines[1]).toMatchObject({ msg: "Exporting failed. Dropping data.", dropped_items: 1 });
    },
  );

  it("takes an empty batch for done", async () => {
    const { consume } = made(async () => expect.fail("nothing to send"));
    await consume();
  });

  it("does not let one signal's hanging peer stall another signal", async () => {
    const { exporter, consume } = made((batch, signal) =>
      batch.signal === "traces" ? never(batch, signal) : Promise.resolve(sent.push(batch.signal)).then(() => {}),
    );
    const sent: string[] = [];
    const { logs } = exporter.consumers;
    await exporter.start(new TestHost());
    for (let at = 0; at < 20; at++) await consume("a");
    await logs?.consume({ signal: "logs", bytes: new Uint8Array(1), items: 1 }, {});
    await settle();
    expect(sent).toEqual(["logs"]);
  });

  it("serves a signal that is asked for after start, and refuses one asked for after shutdown", async () => {
    const sent: string[] = [];
    const { exporter } = made(async (batch) => void sent.push(batch.signal));
    await exporter.start(new TestHost());
    await exporter.consumers.logs?.consume({ signal: "logs", bytes: new Uint8Array(1), items: 1 }, {});
    await exporter.shutdown(patient);
    expect(sent).toEqual(["logs"]);
    const late = exporter.consumers.metrics?.consume({ signal: "metrics", bytes: new Uint8Array(1), items: 1 }, {});
    await expect(late).rejects.toMatchObject({ disposition: "retryable" });
  });

  it("opens before it sends, and closes after the last send", async () => {
    const events: string[] = [];
    const { exporter, consume } = made(
      async () => {
        await settle();
        events.push("send");
      },
      { open: async () => void events.push("open"), close: async () => void events.push("close") },
    );
    await exporter.start(new TestHost());
    await consume("a");
    await consume("b");
    await Promise.all([exporter.shutdown(patient), exporter.shutdown(patient)]);
    expect(events).toEqual(["open", "send", "send", "close"]);
    await expect(consume("c")).rejects.toMatchObject({ disposition: "retryable", grpcCode: 14 });
  });

  it("aborts start-up when it cannot open", async () => {
    const { exporter } = made(async () => {}, {
      open: async () => {
        throw new Error("no such file");
      },
    });
    await expect(exporter.start(new TestHost())).rejects.toThrow("no such file");
    await exporter.shutdown(patient);
  });

  it("shutdown tries once more what waits for a retry, and says in one line what is lost", async () => {
    const tried: number[] = [];
    const { exporter, consume, metric, clock, lines } = made(
      async (batch) => {
        tried.push(batch.items);
        throw away;
      },
      { queue: { num_consumers: 1 } },
    );
    await exporter.start(new TestHost());
    await consume("a");
    await consume("b", "c");
    await clock.advance(100);
    lines.splice(0);
    await exporter.shutdown(patient);
    expect(tried).toEqual([1, 1, 2]);
    expect(await metric("send_failed_spans")).toMatch(/ 3$/);
    expect(lines).toMatchObject([
      {
        level: "error",
        msg: expect.stringContaining("Stopped before everything was sent: 3 spans are lost"),
        dropped_items: 3,
        never_tried: 0,
        error: "connection refused",
      },
    ]);
  });

  it("shutdown cuts what hangs at the deadline, counts it and what was never tried", async () => {
    const deadline = new AbortController();
    const { exporter, consume, metric, lines } = made(never, { queue: { num_consumers: 1 } });
    await exporter.start(new TestHost());
    await consume("a");
    await consume("b", "c");
    await settle();
    const done = exporter.shutdown(deadline.signal);
    deadline.abort();
    await done;
    expect(await metric("send_failed_spans")).toMatch(/ 3$/);
    expect(lines).toMatchObject([{ dropped_items: 3, never_tried: 2 }]);
  });

  it("shutdown waits for callers without a queue, until the deadline", async () => {
    const deadline = new AbortController();
    const { exporter, consume } = made(never, { queue: { enabled: false } });
    await exporter.start(new TestHost());
    const outcome = consume("a").catch((error: Error) => error.message);
    const done = exporter.shutdown(deadline.signal);
    await settle();
    deadline.abort();
    await done;
    expect(await outcome).toBe("the exporter was shut down before an answer came");
  });

  it("shutdown says nothing when everything was sent", async () => {
    const { exporter, consume, lines } = made(async () => {});
    await exporter.start(new TestHost());
    await consume("a");
    await exporter.shutdown(patient);
    expect(lines).toEqual([]);
  });
});
