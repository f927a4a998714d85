import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { OtlpClient } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Program } from "../kit/process.ts";

const DOCUMENTS = fileURLToPath(new URL("../fixtures/config/documents-otel.yml", import.meta.url));

/** One request of one span. */
const REQUEST = encodeTraces([
  {
    resource: { attributes: [] },
    scopeSpans: [
      {
        spans: [
          {
            traceId: "01".repeat(16),
            spanId: "02".repeat(8),
            name: "llm_request",
            startUnixNano: 1_795_322_092_000_000_000n,
            endUnixNano: 1_795_322_093_000_000_000n,
          },
        ],
      },
    ],
  },
]);

let folder: string;
const programs: Program[] = [];
const sinks: OtlpSink[] = [];
const servers: Server[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lifecycle-"));
});

afterEach(async () => {
  for (const program of programs.splice(0)) await program.stop("SIGKILL");
  for (const sink of sinks.splice(0)) await sink.close();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

function omnishim(args: readonly string[], options: Parameters<typeof Program.cli>[1] = {}): Program {
  const program = Program.cli(args, options);
  programs.push(program);
  return program;
}

async function startSink(): Promise<OtlpSink> {
  const sink = await OtlpSink.start();
  sinks.push(sink);
  return sink;
}

const NO_METRICS = "--set=service::telemetry::metrics::level=none";

/** otlp -> batch that waits for an hour -> otlp at `address`. */
function passThrough(address: string, grpcPort = 0): string {
  const file = join(folder, "otel.yml");
  writeFileSync(
    file,
    `receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${grpcPort}"}}}}
processors: {batch: {timeout: 1h}}
exporters: {otlp: {endpoint: "${address}", tls: {insecure: true}}}
service:
  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp]}}
  telemetry: {metrics: {level: none}}
`,
  );
  return file;
}

/** The port that the system chose for OTLP/gRPC, once it is ready. */
async function grpcPort(program: Program): Promise<number> {
  await program.line(/Everything is ready/);
  const [, port] = await program.line(/OTLP\/gRPC listens on 127\.0\.0\.1:(\d+)/);
  return Number(port);
}

async function send(port: number): Promise<void> {
  const client = new OtlpClient(`127.0.0.1:${port}`);
  try {
    await client.send("traces", REQUEST);
  } finally {
    client.close();
  }
}

describe("the program", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("sends on what it accepted and ends with 0 when %s comes", async (signal) => {
    const sink = await startSink();
    const program = omnishim(["--config", passThrough(sink.address)]);
    await program.line(/Everything is ready/);
    await send(await grpcPort(program));
    expect(sink.seen).toBe(0);
    program.signal(signal);
    expect(await program.exit()).toEqual({ code: 0, signal: undefined });
    expect(sink.bytes("traces")).toEqual(REQUEST);
    expect(program.output).toContain("Shutdown complete.");
  });

  it("ends at its deadline when the destination does not answer", async () => {
    const sink = await startSink();
    sink.faults = () => ({ kind: "hang" });
    const program = omnishim([
      "--config",
      passThrough(sink.address),
      "--set=exporters::otlp::timeout=1h",
      "--shutdown-timeout=300ms",
    ]);
    await program.line(/Everything is ready/);
    await send(await grpcPort(program));
    program.signal("SIGTERM");
    expect((await program.exit(10_000)).signal).toBeUndefined();
    expect(program.output).toContain("Shutdown complete.");
  });

  it("ends at once with 1 when a second signal comes", async () => {
    const sink = await startSink();
    sink.faults = () => ({ kind: "hang" });
    const program = omnishim([
      "--config",
      passThrough(sink.address),
      "--set=exporters::otlp::timeout=1h",
      "--shutdown-timeout=1h",
    ]);
    await program.line(/Everything is ready/);
    await send(await grpcPort(program));
    program.signal("SIGINT");
    await sink.until("the export has begun", ({ seen }) => seen > 0);
    program.signal("SIGINT");
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(program.output).toContain("Received SIGINT again: ending at once");
  });

  it("prints one readable error and ends with 1 when its port is taken", async () => {
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const program = omnishim(["--config", passThrough("127.0.0.1:1", port)]);
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    const errors = program.output.split("\n").filter((line) => line.startsWith("Error:"));
    expect(errors).toEqual([
      expect.stringMatching(
        new RegExp(
          `^Error: cannot start pipelines: failed to start "otlp" receiver: .*listen tcp 127\\.0\\.0\\.1:${port}: bind: address already in use; pid ${process.pid} .*; stop it or give receivers::otlp::protocols::grpc::endpoint another port$`,
        ),
      ),
    ]);
    expect(program.output).not.toMatch(/^ +at /m);
  });

  it("prints every problem of a bad file, with its line, and ends with 1", async () => {
    const file = join(folder, "bad.yml");
    writeFileSync(
      file,
      "receivers: {otlpp: }\nexporters: {jaeger: }\nservice: {pipelines: {traces: {receivers: [otlp]}}}\n",
    );
    const program = omnishim(["--config", file]);
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    for (const text of [
      'receivers::otlpp: unknown type: "otlpp"',
      "did you mean `otlp`?",
      "Jaeger takes OTLP natively",
      'service::pipelines::traces: references receiver "otlp" which is not configured',
      "service::pipelines::traces: must have at least one exporter",
      `${file}:3:`,
      "4 problems in the configuration",
    ])
      expect(program.output).toContain(text);
  });

  it("runs the documents' own file", async () => {
    const sink = await startSink();
    // The file as it is, on ports that are free here and without Docker's name for Jaeger.
    const program = omnishim([
      `--config=${DOCUMENTS}`,
      `--set=receivers::otlp::protocols::grpc::endpoint=127.0.0.1:0`,
      `--set=receivers::otlp::protocols::http::endpoint=0.0.0.0:0`,
      `--set=exporters::otlp::endpoint=${sink.address}`,
      NO_METRICS,
    ]);
    await program.line(/Everything is ready/);
    await send(await grpcPort(program));
    await sink.until("the span is there", ({ accepted }) => accepted.length === 1);
    expect(sink.bytes("traces")).toEqual(REQUEST);
    expect(program.output).toMatch(/OTLP\/HTTP listens on .*reachable on every network interface/);
    expect(await program.stop()).toEqual({ code: 0, signal: undefined });
  });

  it("runs a built-in default without a file, and says what it does and what comes next", async () => {
    const log = join(folder, "nginx_error.log");
    writeFileSync(log, "");
    const program = omnishim(
      [
        `--set=receivers::otlp::protocols::grpc::endpoint=127.0.0.1:0`,
        `--set=receivers::otlp::protocols::http::endpoint=127.0.0.1:0`,
        "--set=connectors::request_merge::span_wait=0s",
        NO_METRICS,
      ],
      { env: { OMNISHIM_LOG: log } },
    );
    await program.line(/Everything is ready/);
    for (const text of [
      "running the built-in default",
      `Omni Proxy's log is read from ${log}`,
      "Next: point vLLM here",
    ])
      expect(program.output).toContain(text);
    await send(await grpcPort(program));
    await program.line(/llm_request/);
    expect(await program.stop()).toEqual({ code: 0, signal: undefined });
  });

  it("names the flag that moves a taken port when there is no file to change", async () => {
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const program = omnishim([
      `--set=receivers::otlp::protocols::grpc::endpoint=127.0.0.1:${port}`,
      `--set=receivers::otlp::protocols::http::endpoint=127.0.0.1:0`,
      NO_METRICS,
    ]);
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(program.output).toContain("--set receivers::otlp::protocols::grpc::endpoint=localhost:PORT");
  });

  it("drains and ends with 1 when an error is caught by nothing", async () => {
    const sink = await startSink();
    const crash = 'process.on("SIGUSR2", () => { throw new Error("boom"); })';
    const program = omnishim(["--config", passThrough(sink.address)], {
      nodeArgs: ["--import", `data:text/javascript,${encodeURIComponent(crash)}`],
    });
    await program.line(/Everything is ready/);
    await send(await grpcPort(program));
    program.signal("SIGUSR2");
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(program.output).toContain("Error: unexpected, please report it: Error: boom");
    expect(sink.bytes("traces")).toEqual(REQUEST);
  });
});
