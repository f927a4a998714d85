import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts, Program } from "../kit/process.ts";

/** "v1" is 1.56, the version that the upstream documents deploy; "v2" is the single binary. */
export type JaegerVersion = "v1" | "v2";

/** A span in the answer of /api/traces. Times are microseconds. */
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly { readonly refType: string; readonly traceID: string; readonly spanID: string }[];
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly { readonly key: string; readonly type: string; readonly value: unknown }[];
  readonly logs: readonly unknown[];
  readonly processID: string;
  readonly warnings: readonly string[] | null;
}

/** A trace in the answer of /api/traces. */
export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string; readonly tags: JaegerSpan["tags"] }>>;
}

/** An OTLP trace in the answer of /api/v3/traces/ID (JSON as the OTLP page of the specification has it). */
export interface OtlpTrace {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { key: string; value: Record<string, unknown> }[] };
    readonly scopeSpans: readonly {
      readonly scope?: { readonly name?: string };
      readonly spans: readonly Record<string, unknown>[];
    }[];
  }[];
}

/** A real Jaeger with memory storage, every port on 127.0.0.1 and of this process's choice. */
export class Jaeger {
  readonly version: JaegerVersion;
  /** host:port for OTLP over gRPC. */
  readonly grpc: string;
  /** host:port for OTLP over HTTP. */
  readonly http: string;
  /** The base of the query API, "http://127.0.0.1:PORT". */
  readonly query: string;
  readonly #program: Program;
  readonly #folder: string;

  private constructor(version: JaegerVersion, program: Program, ports: readonly number[], folder: string) {
    const [grpcPort, httpPort, queryPort] = ports;
    this.version = version;
    this.#program = program;
    this.grpc = `127.0.0.1:${grpcPort}`;
    this.http = `127.0.0.1:${httpPort}`;
    this.query = `http://127.0.0.1:${queryPort}`;
    this.#folder = folder;
  }

  /** @param tls the `tls` section of both OTLP receivers, as JSON (v2 alone) */
  static async start(version: JaegerVersion, binary: string, tls?: string): Promise<Jaeger> {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-jaeger-"));
    const ports = await freePorts(5);
    const config = join(folder, "jaeger.yml");
    writeFileSync(config, v2Config(ports, tls));
    const program = new Program(binary, version === "v1" ? v1Flags(ports) : ["--config", config], {
      env: { SPAN_STORAGE_TYPE: "memory" },
    });
    const jaeger = new Jaeger(version, program, ports, folder);
    try {
      await program.line(
        version === "v1"
          ? /"msg":"Health Check state change".*"status":"ready"/
          : /Everything is ready\. Begin running and processing data/,
        30_000,
      );
      // v1 says ready a moment before its query server accepts.
      await jaeger.#get("/api/services");
    } catch (error) {
      await jaeger.stop();
      throw error;
    }
    return jaeger;
  }

  /** Traces of `service` that began between two times, all of their spans. */
  async traces(service: string, fromUnix: number, toUnix: number): Promise<JaegerTrace[]> {
    const query = new URLSearchParams({
      service,
      start: String(Math.floor(fromUnix * 1e6)),
      end: String(Math.ceil(toUnix * 1e6)),
      limit: "1500",
      lookback: "custom",
    });
    return ((await this.#get(`/api/traces?${query}`)) as { data: JaegerTrace[] }).data;
  }

  /** One trace, or undefined where there is none. */
  async trace(traceId: string): Promise<JaegerTrace | undefined> {
    const answer = (await this.#get(`/api/traces/${traceId}`, true)) as { data: JaegerTrace[] | null } | undefined;
    return answer?.data?.[0];
  }

  /** One trace as OTLP, from the newer API. */
  async otlpTrace(traceId: string): Promise<OtlpTrace> {
    return ((await this.#get(`/api/v3/traces/${traceId}`)) as { result: OtlpTrace }).result;
  }

  /** Asks until `done` holds for the answer: Jaeger shows a span only a moment after it has accepted it. */
  async until<T>(ask: () => Promise<T>, done: (answer: T) => boolean, timeoutMs = 20_000): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const answer = await ask();
      if (done(answer) || Date.now() > deadline) return answer;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async stop(): Promise<void> {
    await this.#program.stop("SIGKILL"); // v1 takes ten seconds over SIGTERM, and its memory is nobody's loss
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #get(path: string, orMissing = false): Promise<unknown> {
    const deadline = Date.now() + 20_000;
    for (;;) {
      try {
        const response = await fetch(`${this.query}${path}`);
        if (response.status === 404 && orMissing) return undefined;
        if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
        return await response.json();
      } catch (error) {
        const refused = error instanceof TypeError; // not listening yet
        if (!refused || Date.now() > deadline || this.#program.ended) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

function v1Flags([grpc, http, query, queryGrpc, admin]: readonly number[]): string[] {
  return [
    "--collector.otlp.enabled=true",
    `--collector.otlp.grpc.host-port=127.0.0.1:${grpc}`,
    `--collector.otlp.http.host-port=127.0.0.1:${http}`,
    `--query.http-server.host-port=127.0.0.1:${query}`,
    `--query.grpc-server.host-port=127.0.0.1:${queryGrpc}`,
    `--admin.http.host-port=127.0.0.1:${admin}`,
    // Nobody asks for these: any free port.
    "--collector.grpc-server.host-port=127.0.0.1:0",
    "--collector.http-server.host-port=127.0.0.1:0",
    "--http-server.host-port=127.0.0.1:0",
    "--processor.jaeger-binary.server-host-port=127.0.0.1:0",
    "--processor.jaeger-compact.server-host-port=127.0.0.1:0",
    "--processor.zipkin-compact.server-host-port=127.0.0.1:0",
  ];
}

function v2Config([grpc, http, query, queryGrpc]: readonly number[], tls = "null"): string {
  return `
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics:
      level: none
extensions:
  jaeger_storage:
    backends:
      memory:
        memory:
          max_traces: 100000
  jaeger_query:
    storage:
      traces: memory
    http:
      endpoint: 127.0.0.1:${query}
    grpc:
      endpoint: 127.0.0.1:${queryGrpc}
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:${grpc}
        tls: ${tls}
      http:
        endpoint: 127.0.0.1:${http}
        tls: ${tls}
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
`;
}
