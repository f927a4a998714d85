import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { debugExporterFactory } from "../../src/exporters/debug/factory.ts";
import { fileExporterFactory } from "../../src/exporters/file/factory.ts";
import { nopExporterFactory } from "../../src/exporters/nop/factory.ts";
import { otlpGrpcExporterFactory } from "../../src/exporters/otlp/factory.ts";
import { otlpHttpExporterFactory } from "../../src/exporters/otlphttp/factory.ts";
import type { ExporterFactory } from "../../src/kernel/api.ts";
import type { ConsumeError } from "../../src/kernel/errors.ts";
import { jsonToProto } from "../../src/pdata/json.ts";
import { type Fate, faultPlans, seededRandom } from "../kit/fault-plan.ts";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { TestHost, testSettings } from "../kit/settings.ts";

const unhurried = new AbortController().signal;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A factory with the least section it accepts. */
const least: readonly [string, ExporterFactory, object][] = [
  ["otlp_grpc", otlpGrpcExporterFactory, { endpoint: "localhost:4317", tls: { insecure: true } }],
  ["otlp_http", otlpHttpExporterFactory, { endpoint: "http://localhost:4318" }],
  ["debug", debugExporterFactory, {}],
  ["nop", nopExporterFactory, {}],
  ["file", fileExporterFactory, { path: "/dev/null" }],
];

describe.each(least)("%s keeps the life-cycle contract", (id, factory, section) => {
  const make = () => factory.configure(section).create(testSettings(id));

  it("shutdown is legal before start", async () => {
    await make().shutdown(unhurried);
  });

  it("shutdown is idempotent, and ends at once when nothing was sent", async () => {
    const exporter = make();
    await exporter.start(new TestHost());
    await Promise.all([exporter.shutdown(unhurried), exporter.shutdown(unhurried)]);
    await exporter.shutdown(unhurried);
  });

  it("takes every signal it says it takes", () => {
    const { consumers } = make();
    expect(factory.signals.filter((signal) => consumers[signal] === undefined)).toEqual([]);
  });

  it("refuses an unknown key with its path", () => {
    expect(() => factory.configure({ ...section, no_such_key: 1 })).toThrow(/^no_such_key: /);
  });
});

/** A destination over a real connection, and the names of the spans that it took. */
interface Destination {
  readonly factory: ExporterFactory;
  readonly section: object;
  names(): Promise<string[]>;
}

async function grpcDestination(fate: () => Fate): Promise<Destination> {
  const codes = { retryable: status.UNAVAILABLE, permanent: status.INVALID_ARGUMENT } as const;
  const sink = await OtlpSink.start({
    faults: () => {
      const next = fate();
      return next === "ok" ? undefined : { kind: "code", code: codes[next] };
    },
  });
  cleanups.push(() => sink.close());
  const section = { endpoint: sink.address, tls: { insecure: true } };
  return { factory: otlpGrpcExporterFactory, section, names: async () => namesIn(sink.bytes("traces")) };
}

async function httpDestination(encoding: "proto" | "json", fate: () => Fate): Promise<Destination> {
  const bodies: Buffer[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const next = fate();
      if (next === "ok") bodies.push(Buffer.concat(chunks));
      response.writeHead({ ok: 200, retryable: 503, permanent: 400 }[next]).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    factory: otlpHttpExporterFactory,
    section: { endpoint, encoding, compression: "none" },
    names: async () => bodies.flatMap((body) => namesIn(encoding === "json" ? jsonToProto("traces", body) : body)),
  };
}

const destinations: Readonly<Record<string, (fate: () => Fate) => Promise<Destination>>> = {
  otlp_grpc: grpcDestination,
  "otlp_http with proto": (fate) => httpDestination("proto", fate),
  "otlp_http with json": (fate) => httpDestination("json", fate),
};

/** Fast retries, a queue that is full now and then. */
const retry_on_failure = { initial_interval: "1ms", max_interval: "5ms", max_elapsed_time: 0 };
const queues: readonly [string, object][] = [
  ["a queue", { queue_size: 20 }],
  ["a queue that batches", { queue_size: 20, batch: { min_size: 20, flush_timeout: "5ms" } }],
  ["a queue that answers with the result", { queue_size: 20, wait_for_result: true }],
  ["no queue", { enabled: false }],
];

/** Sends until every request was taken or refused for good; the names of those that were taken. */
async function sendAll(consume: (names: readonly string[]) => Promise<void>): Promise<string[]> {
  const accepted: string[] = [];
  const senders = Array.from({ length: 6 }, async (_, sender) => {
    for (let request = 0; request < 15; request++) {
      const names = [`${sender}/${request}/a`, `${sender}/${request}/b`];
      for (;;) {
        const failure = await consume(names).then(
          () => undefined,
          (error: ConsumeError) => error,
        );
        if (!failure) accepted.push(...names);
        if (failure?.disposition !== "retryable") break;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  });
  await Promise.all(senders);
  return accepted;
}

async function counted(metrics: { text(): Promise<string> }, name: string): Promise<number> {
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "m").exec(await metrics.text())?.[1] ?? Number.NaN);
}

describe.each(Object.keys(destinations))("%s loses nothing silently", (name) => {
  describe.each(faultPlans)("when its destination $name", ({ plan }) => {
    it.each(queues)("with %s: accepted = at the destination + counted as failed, after shutdown", async (_, queue) => {
      const random = seededRandom(11);
      const destination = await (destinations[name] as (fate: () => Fate) => Promise<Destination>)(() => plan(random));
      const settings = testSettings("exporter");
      const exporter = destination.factory
        .configure({ ...destination.section, retry_on_failure, sending_queue: queue })
        .create(settings);
      const { traces } = exporter.consumers;
      await exporter.start(new TestHost());
      const accepted = await sendAll((names) => traces?.consume(spansNamed(...names), {}) ?? expect.fail("no traces"));
      await exporter.shutdown(unhurried);
      const arrived = new Set(await destination.names());
      const missing = accepted.filter((span) => !arrived.has(span));
      const answersWithResult = "enabled" in queue || "wait_for_result" in queue;
      if (answersWithResult) expect(missing).toEqual([]);
      else expect(missing).toHaveLength(await counted(settings.metrics, "otelcol_exporter_send_failed_spans"));
      expect(await counted(settings.metrics, "otelcol_exporter_sent_spans")).toBe(arrived.size);
    });
  });
});

describe("file loses nothing", () => {
  it("has every accepted span in the file after shutdown", async () => {
    const folder = await mkdtemp(join(tmpdir(), "contract-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const path = join(folder, "out.json");
    const exporter = fileExporterFactory.configure({ path }).create(testSettings("file"));
    await exporter.start(new TestHost());
    const accepted = await sendAll(
      (names) => exporter.consumers.traces?.consume(spansNamed(...names), {}) ?? expect.fail("no traces"),
    );
    await exporter.shutdown(unhurried);
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    expect(lines.flatMap((line) => namesIn(jsonToProto("traces", Buffer.from(line)))).sort()).toEqual(accepted.sort());
  });
});
