import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Signal } from "../../src/kernel/api.ts";
import { WireWriter } from "../../src/pdata/wire.ts";
import { readCapture } from "../kit/captures.ts";
import { OtlpClient, sendHttp } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { accepts, CLI, freePorts, Program } from "../kit/process.ts";
import { readSpans } from "../kit/spans.ts";
import { decode, encode, rich } from "./rich.ts";

/** One file for both: the pass-through of the upstream documents, for all three signals. */
const config = `
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:\${env:GRPC_PORT}
      http:
        endpoint: 127.0.0.1:\${env:HTTP_PORT}
processors:
  batch:
exporters:
  otlp:
    endpoint: 127.0.0.1:\${env:SINK_PORT}
    tls:
      insecure: true
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [otlp]
    metrics:
      receivers: [otlp]
      processors: [batch]
      exporters: [otlp]
    logs:
      receivers: [otlp]
      processors: [batch]
      exporters: [otlp]
`;

/** A running pass-through: a Collector, or the shim. */
interface Through {
  readonly sink: OtlpSink;
  readonly grpc: string;
  readonly http: string;
  readonly client: OtlpClient;
  stop(): Promise<void>;
}

async function start(command: string, args: readonly string[]): Promise<Through> {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-passthrough-"));
  writeFileSync(join(folder, "otel.yml"), config);
  const sink = await OtlpSink.start();
  const [grpcPort, httpPort] = (await freePorts(2)) as [number, number];
  const program = new Program(command, [...args, "--config", join(folder, "otel.yml")], {
    env: { GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort), SINK_PORT: String(sink.port) },
  });
  const stop = async (): Promise<void> => {
    const exit = await program.stop();
    await sink.close();
    rmSync(folder, { recursive: true, force: true });
    expect(exit, program.output).toEqual({ code: 0, signal: undefined });
  };
  try {
    await accepts(grpcPort, program);
    await accepts(httpPort, program);
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
  const client = new OtlpClient(`127.0.0.1:${grpcPort}`);
  return {
    sink,
    grpc: `127.0.0.1:${grpcPort}`,
    http: `http://127.0.0.1:${httpPort}`,
    client,
    stop: async () => {
      client.close();
      await stop();
    },
  };
}

const peers = inject("peers");
const otelcol = peers["otelcol"]?.path;
const python = peers["python"]?.path;

describe.skipIf(otelcol === undefined)("the same pass-through otel.yml, run by the Collector and by the shim", () => {
  let collector: Through;
  let shim: Through;
  beforeAll(async () => {
    collector = await start(otelcol ?? "", []);
    shim = await start(process.execPath, [CLI]);
  });
  afterAll(async () => {
    await Promise.all([collector?.stop(), shim?.stop()]);
  });

  /** What arrives at `through`'s sink for `signal` while `send` runs, as one request. */
  async function sunk(
    through: Through,
    signal: Signal,
    send: (through: Through) => Promise<unknown>,
    done: (bytes: Buffer) => boolean = (bytes) => bytes.length > 0,
  ): Promise<Buffer> {
    const before = through.sink.accepted.length;
    const arrived = (): Buffer =>
      Buffer.concat(
        through.sink.accepted.slice(before).flatMap((request) => (request.signal === signal ? [request.bytes] : [])),
      );
    await send(through);
    await through.sink.until("what was sent is at the sink", () => done(arrived()));
    return arrived();
  }

  describe.each(["traces", "metrics", "logs"] as const)("%s", (signal) => {
    const request = encode(signal, rich[signal]);

    it.each<[string, (through: Through) => Promise<unknown>]>([
      ["gRPC", ({ client }) => client.send(signal, request)],
      ["HTTP with protobuf", ({ http }) => sendHttp(http, signal, Uint8Array.from(request))],
      ["HTTP with JSON", ({ http }) => sendHttp(http, signal, JSON.stringify(rich[signal]))],
    ])("sent over %s are the same at the sink, field by field", async (_name, send) => {
      const [theirs, ours] = await Promise.all([sunk(collector, signal, send), sunk(shim, signal, send)]);
      expect(decode(signal, ours)).toEqual(decode(signal, theirs));
      expect(decode(signal, ours)).toEqual(decode(signal, request));
    });

    it("come out of the shim with the bytes they had", async () => {
      const ours = await sunk(shim, signal, ({ client }) => client.send(signal, request));
      expect(ours.equals(request)).toBe(true);
    });
  });

  it("unknown fields at every level stay as they were in the shim, and change nothing that the Collector keeps", async () => {
    const unknown = (writer: WireWriter): WireWriter =>
      writer.uint(2000, 7).fixed64(2001, 8n).string(2002, "from a newer version").fixed32(2003, 9);
    // ExportTraceServiceRequest.resource_spans=1; resource=1, scope_spans=2; scope=1, spans=2; Span.trace_id=1, span_id=2, name=5, attributes=9.
    const span = unknown(new WireWriter())
      .bytes(1, Buffer.alloc(16, 1))
      .bytes(2, Buffer.alloc(8, 2))
      .string(5, "newer")
      .message(9, (attribute) => unknown(attribute.string(1, "k")).message(2, (value) => value.string(1, "v")))
      .finish();
    const request = unknown(
      new WireWriter().message(1, (resourceSpans) =>
        unknown(resourceSpans.message(1, (resource) => unknown(resource))).message(2, (scopeSpans) =>
          unknown(scopeSpans.message(1, (scope) => unknown(scope.string(1, "s"))).bytes(2, span)),
        ),
      ),
    ).finish();
    const send = ({ client }: Through): Promise<unknown> => client.send("traces", request);
    const [theirs, ours] = await Promise.all([sunk(collector, "traces", send), sunk(shim, "traces", send)]);
    expect(ours.equals(request)).toBe(true);
    expect(decode("traces", ours)).toEqual(decode("traces", theirs));
    expect(theirs.includes("from a newer version")).toBe(false);
  });

  it("vLLM's captured spans are the same at the sink, whatever batches they come in", async () => {
    const { payloads } = readCapture("proxy-vllm/grpc");
    const count = payloads.flatMap(({ bytes }) => readSpans(bytes)).length;
    const send = ({ client }: Through): Promise<unknown> =>
      Promise.all(payloads.map(({ bytes }) => client.send("traces", bytes)));
    const all = (bytes: Buffer): boolean => readSpans(bytes).length === count;
    const [theirs, ours] = await Promise.all([sunk(collector, "traces", send, all), sunk(shim, "traces", send, all)]);
    const sorted = (bytes: Buffer): string[] =>
      readSpans(bytes)
        .map(({ around, raw, name }) => {
          const hash = createHash("sha256");
          for (const part of [around.resource, around.scope, raw]) hash.update(`${part.length} `).update(part);
          return `${name} ${hash.digest("hex")}`;
        })
        .sort();
    expect(sorted(ours)).toEqual(payloads.flatMap(({ bytes }) => sorted(bytes)).sort());
    const fields = (bytes: Buffer): string[] =>
      readSpans(bytes)
        .map(({ raw: _raw, around: { schemaUrls }, ...span }) =>
          JSON.stringify({ ...span, schemaUrls }, (_key, value: unknown) =>
            typeof value === "bigint" ? String(value) : value,
          ),
        )
        .sort();
    expect(fields(ours)).toEqual(fields(theirs));
  });

  it.skipIf(python === undefined).each(["grpc", "http"] as const)(
    "spans of the Python SDK over %s are the same at the sink",
    async (protocol) => {
      const endpoint = ({ grpc, http }: Through): string =>
        protocol === "grpc" ? `http://${grpc}` : `${http}/v1/traces`;
      const script = new URL("senders.py", import.meta.url).pathname;
      const sender = new Program(python ?? "", [script, "rich", protocol, endpoint(collector), endpoint(shim)]);
      const both = (bytes: Buffer): boolean => readSpans(bytes).length === 2;
      const sent = async (): Promise<void> => {
        expect(await sender.exit(30_000), sender.output).toEqual({ code: 0, signal: undefined });
      };
      const [theirs, ours] = await Promise.all([
        sunk(collector, "traces", sent, both),
        sunk(shim, "traces", sent, both),
      ]);
      expect(readSpans(ours).map(({ name }) => name)).toEqual(["inner", "outer"]);
      expect(decode("traces", ours)).toEqual(decode("traces", theirs));
    },
  );
});

if (otelcol === undefined)
  describe("the Collector", () => {
    it.skip(`is not here: ${peers["otelcol"]?.skipped ?? "its build failed"}`, () => {});
  });
