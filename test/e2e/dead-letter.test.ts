import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { namesIn } from "../kit/named-spans.ts";
import { sendHttp } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Program } from "../kit/process.ts";
import { Shim } from "../kit/shim.ts";

let folder: string;
let sink: OtlpSink;
let shim: Shim | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "dead-letter-"));
  sink = await OtlpSink.start();
});

afterEach(async () => {
  await shim?.stop();
  shim = undefined;
  await sink.close();
  rmSync(folder, { recursive: true, force: true });
});

const traceId = "0123456789abcdef0123456789abcdef";
const request = (...names: string[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(
    encodeTraces([
      {
        scopeSpans: [
          {
            spans: names.map((name, at) => ({
              traceId,
              spanId: (at + 1).toString(16).padStart(16, "0"),
              name,
              startUnixNano: 1_700_000_000_000_000_000n,
              endUnixNano: 1_700_000_001_000_000_000n,
            })),
          },
        ],
      },
    ]),
  );

const letters = (): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).flatMap((name) =>
    name.endsWith(".pb") ? [join(folder, name)] : [],
  );

describe("a dead letter", () => {
  it("holds what the backend refused from a durable queue, can be looked into, and arrives when it is sent again", async () => {
    shim = await Shim.start(
      ({ grpcPort, httpPort, metricsPort }) => `
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${grpcPort}"}, http: {endpoint: "127.0.0.1:${httpPort}"}}}}
extensions: {file_storage: {directory: "${join(folder, "queue")}"}}
exporters:
  otlp_grpc:
    endpoint: "${sink.address}"
    tls: {insecure: true}
    sending_queue: {storage: file_storage}
    dead_letter: {directory: "${join(folder, "letters")}"}
service:
  extensions: [file_storage]
  pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}
  telemetry: {metrics: {address: "127.0.0.1:${metricsPort}"}}
`,
    );
    sink.faults = ({ bytes }) =>
      namesIn(bytes).includes("bad") ? { kind: "code", code: 3, message: "no such name" } : undefined;
    await sendHttp(shim.http, "traces", request("a", "bad", "b"));
    await shim.program.line(/kept as a dead letter/);
    await sink.until("the others are there", () => namesIn(sink.bytes("traces")).length === 2);
    const [letter = "", ...more] = letters();
    expect(more).toEqual([]);
    expect(namesIn(readFileSync(letter))).toEqual(["bad"]);
    expect(await shim.metric("omnishim_exporter_dead_letter_kept_items")).toEqual({
      'omnishim_exporter_dead_letter_kept_items{exporter="otlp_grpc",data_type="traces"}': 1,
    });

    const stats = Program.cli(["stats", letter]);
    expect(await stats.exit()).toEqual({ code: 0, signal: undefined });
    expect(stats.output).toContain("1 spans in 1 traces");

    sink.faults = undefined;
    await sendHttp(shim.http, "traces", Uint8Array.from(readFileSync(letter)));
    await sink.until("the letter has arrived", () => namesIn(sink.bytes("traces")).includes("bad"));
    expect(namesIn(sink.bytes("traces")).sort()).toEqual(["a", "b", "bad"]);
  });
});
