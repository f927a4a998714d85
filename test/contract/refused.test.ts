import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { otlpGrpcExporterFactory } from "../../src/exporters/otlp/factory.ts";
import { otlpHttpExporterFactory } from "../../src/exporters/otlphttp/factory.ts";
import type { ExporterFactory } from "../../src/kernel/api.ts";
import { jsonToProto } from "../../src/pdata/json.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { TestHost, testSettings } from "../kit/settings.ts";

const unhurried = new AbortController().signal;
const isBad = (bytes: Uint8Array): boolean => namesIn(bytes).some((name) => name.startsWith("bad"));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Destination {
  readonly factory: ExporterFactory;
  readonly section: object;
  /** How it is named in messages. */
  readonly address: string;
  readonly requests: () => number;
  readonly names: () => string[];
}

/** A gRPC backend that takes no request with a bad span in it, and says so with `code`. */
const overGrpc =
  (code: status, message = "span has no name") =>
  async (): Promise<Destination> => {
    const sink = await OtlpSink.start({
      faults: ({ bytes }) => (isBad(bytes) ? { kind: "code", code, message } : undefined),
    });
    cleanups.push(() => sink.close());
    return {
      factory: otlpGrpcExporterFactory,
      section: { endpoint: sink.address, tls: { insecure: true } },
      address: sink.address,
      requests: () => sink.seen,
      names: () => namesIn(sink.bytes("traces")),
    };
  };

const overHttp = (code: number, encoding: "proto" | "json") => async (): Promise<Destination> => {
  const accepted: Uint8Array[] = [];
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const bytes = encoding === "json" ? jsonToProto("traces", body) : body;
      if (!isBad(bytes)) accepted.push(bytes);
      response.writeHead(isBad(bytes) ? code : 200, { "content-type": "application/json" });
      response.end(isBad(bytes) ? JSON.stringify({ code: 3, message: "span has no name" }) : "{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    factory: otlpHttpExporterFactory,
    section: { endpoint, encoding, compression: "none" },
    address: endpoint,
    requests: () => requests,
    names: () => accepted.flatMap((bytes) => namesIn(bytes)),
  };
};

async function sent(destination: Destination, over: object, names: readonly string[]) {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: "info",
    encoding: "json",
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const settings = testSettings("otlp_grpc/jaeger", { logger });
  const exporter = destination.factory.configure({ ...destination.section, ...over }).create(settings);
  const { traces } = exporter.consumers;
  if (!traces) throw new Error("no traces");
  await exporter.start(new TestHost());
  await traces.consume(spansNamed(...names), {});
  await exporter.shutdown(unhurried);
  const text = await settings.metrics.text();
  const metric = (name: string): number => Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, "m").exec(text)?.[1]);
  return { lines, metric };
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "refused-"));
  cleanups.push(() => rm(path, { recursive: true }));
  return path;
}

const names = Array.from({ length: 100 }, (_, at) => (at === 3 || at === 64 || at === 65 ? `bad-${at}` : `good-${at}`));
const good = names.filter((name) => name.startsWith("good"));
const bad = names.filter((name) => name.startsWith("bad"));

describe.each([
  ["otlp_grpc and INVALID_ARGUMENT", overGrpc(status.INVALID_ARGUMENT)],
  [
    "otlp_grpc and what a Collector says of a span it cannot read",
    overGrpc(status.INTERNAL, "grpc: error unmarshalling request: unmarshal: invalid TraceID length"),
  ],
  ["otlp_http, protobuf and 400", overHttp(400, "proto")],
  ["otlp_http, JSON and 422", overHttp(422, "json")],
])("%s: an exporter whose peer refuses some spans for good", (_, destinationOf) => {
  it("delivers all others once, and keeps those as a letter that a peer which takes them gets whole", async () => {
    const directory = await folder();
    const destination = await destinationOf();
    const { lines, metric } = await sent(destination, { dead_letter: { directory } }, names);
    expect(destination.names().sort()).toEqual([...good].sort());
    expect(destination.requests()).toBeLessThanOrEqual(1 + 2 * bad.length * 7);
    expect(metric("otelcol_exporter_sent_spans")).toBe(good.length);
    expect(metric("otelcol_exporter_send_failed_spans")).toBe(bad.length);
    expect(metric("omnishim_exporter_dead_letter_kept_items")).toBe(bad.length);
    expect(metric("omnishim_exporter_dead_letter_lost_items")).toBe(0);
    const [letter] = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith(".pb"));
    expect(namesIn(await readFile(join(directory, `${letter}`))).sort()).toEqual(bad);
    expect(lines).toMatchObject([
      { level: "warn", msg: expect.stringContaining("sent in parts to find what is at fault"), items: 100 },
      {
        level: "error",
        msg: expect.stringContaining("kept as a dead letter"),
        kept_items: bad.length,
        file: expect.stringMatching(/\.pb$/),
      },
    ]);
    expect(lines[1]?.["error"]).toContain(destination.address);
  });

  it("counts and says once what it gives up when there is no folder for it", async () => {
    const destination = await destinationOf();
    const { lines, metric } = await sent(destination, {}, names);
    expect(destination.names()).toHaveLength(good.length);
    expect(metric("otelcol_exporter_send_failed_spans")).toBe(bad.length);
    expect(metric("omnishim_exporter_dead_letter_kept_items")).toBeNaN();
    // At shutdown, so what is lost is said in its summary.
    expect(lines.at(-1)).toMatchObject({ level: "error", dropped_items: bad.length });
    expect(lines).toHaveLength(2);
  });

  it("asks once and gives up the batch when split_refused is off", async () => {
    const destination = await destinationOf();
    const { metric } = await sent(destination, { split_refused: { enabled: false } }, names);
    expect(destination.requests()).toBe(1);
    expect(metric("otelcol_exporter_send_failed_spans")).toBe(100);
  });
});

describe.each([
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
  status.NOT_FOUND,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
  status.UNKNOWN,
])("otlp_grpc and code %i, which is about the whole request", (code) => {
  it("asks once and keeps all of it", async () => {
    const directory = await folder();
    const destination = await overGrpc(code)();
    const { metric } = await sent(destination, { dead_letter: { directory } }, names);
    expect(destination.requests()).toBe(1);
    expect(metric("omnishim_exporter_dead_letter_kept_items")).toBe(100);
  });
});

describe("split_refused and dead_letter", () => {
  it.each([
    [{ dead_letter: {} }, "dead_letter::directory: is required"],
    [{ dead_letter: { directory: "" } }, "dead_letter::directory: directory must not be empty"],
    [{ dead_letter: { directory: "x", max_size_mib: 0 } }, "dead_letter::max_size_mib: must be at least 1, got 0"],
    [{ split_refused: { max_requests: 2 } }, "split_refused::max_requests: must be at least 3, got 2"],
  ])("refuses %j", (section, message) => {
    expect(() => otlpGrpcExporterFactory.configure({ endpoint: "a:1", ...section })).toThrow(message);
  });
});
