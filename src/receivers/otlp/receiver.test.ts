import { mkdtemp, rm } from "node:fs/promises";
import * as http from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { gate } from "../../../test/kit/gate.ts";
import { protoRoot } from "../../../test/kit/proto.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import { RecordingSink } from "../../../test/kit/sink.ts";
import type { Consumers, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { exportPaths } from "../../transport/grpc/otlp-services.ts";
import { otlpReceiverFactory } from "./factory.ts";
import type { OtlpReceiver } from "./receiver.ts";

const LOCAL = { grpc: { endpoint: "127.0.0.1:0" }, http: { endpoint: "127.0.0.1:0" } };
const ONE_SPAN = encodeTraces([
  {
    scopeSpans: [
      {
        spans: [{ traceId: "01".repeat(16), spanId: "02".repeat(8), name: "llm_request", startUnixNano: 1n }],
      },
    ],
  },
]);

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

async function start(next: Consumers, protocols: unknown = LOCAL, over: Partial<Settings> = {}): Promise<OtlpReceiver> {
  const make = otlpReceiverFactory.configure({ protocols }).create(testSettings("otlp/edge", over));
  const receiver = make(next) as OtlpReceiver;
  await receiver.start(new TestHost());
  undo.push(() => receiver.shutdown(AbortSignal.abort()));
  return receiver;
}

interface GrpcReply {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
  readonly bytes: Buffer;
}

function exportGrpc(target: string, message: Buffer, path = exportPaths().traces): Promise<GrpcReply> {
  const client = new Client(target, credentials.createInsecure());
  undo.push(() => client.close());
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      same,
      same,
      message,
      new Metadata(),
      { deadline: Date.now() + 10_000 },
      (error, value) => {
        const failure = error as ServiceError | null;
        resolve({
          code: failure?.code ?? 0,
          details: failure?.details ?? "",
          metadata: failure?.metadata ?? new Metadata(),
          bytes: value ?? Buffer.alloc(0),
        });
      },
    );
  });
}

interface HttpReply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

const PROTOBUF = { "Content-Type": "application/x-protobuf" };
const JSON_TYPE = { "Content-Type": "application/json" };

function post(
  receiver: OtlpReceiver,
  path: string,
  body: string | Uint8Array,
  headers: http.OutgoingHttpHeaders,
  more: http.RequestOptions = {},
): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: "127.0.0.1", port: receiver.http?.port, method: "POST", path, headers, agent: false, ...more },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

const grpcTarget = (receiver: OtlpReceiver): string => `127.0.0.1:${receiver.grpc?.port}`;

describe("exportPaths", () => {
  it("are those of the services in proto/", () => {
    const root = protoRoot();
    const path = (service: string): string => {
      const found = root.lookupService(service);
      return `/${found.fullName.slice(1)}/${Object.keys(found.methods)[0]}`;
    };
    expect(exportPaths()).toEqual({
      traces: path("opentelemetry.proto.collector.trace.v1.TraceService"),
      metrics: path("opentelemetry.proto.collector.metrics.v1.MetricsService"),
      logs: path("opentelemetry.proto.collector.logs.v1.LogsService"),
    });
  });
});

describe("OtlpReceiver", () => {
  it("tells clients at the wrong port where the other one is bound, not what the file says", async () => {
    const receiver = await start({ traces: new RecordingSink<"traces">() });
    const misled = await exportGrpc(`127.0.0.1:${receiver.http?.port}`, ONE_SPAN);
    expect(misled).toMatchObject({
      code: 12,
      details: expect.stringContaining(`OTLP/gRPC is on 127.0.0.1:${receiver.grpc?.port}`),
    });
    const port = receiver.grpc?.port ?? 0;
    const { status, body } = await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF, { port });
    expect(status).toBe(400);
    expect(body.toString()).toContain(`OTLP/HTTP is on 127.0.0.1:${receiver.http?.port}`);
  });

  it("passes requests on byte for byte, over gRPC, HTTP and compressed HTTP", async () => {
    const traces = new RecordingSink<"traces">();
    const receiver = await start({ traces });
    const unknownField = Buffer.concat([ONE_SPAN, Buffer.from([0xf8, 0x3f, 0x01])]);
    expect(await exportGrpc(grpcTarget(receiver), unknownField)).toMatchObject({ code: 0, bytes: Buffer.alloc(0) });
    expect((await post(receiver, "/v1/traces", unknownField, PROTOBUF)).status).toBe(200);
    const gzip = { ...PROTOBUF, "Content-Encoding": "gzip" };
    expect((await post(receiver, "/v1/traces", gzipSync(unknownField), gzip)).status).toBe(200);
    expect(traces.batches.map((batch) => [batch.items, Buffer.from(batch.bytes).equals(unknownField)])).toEqual([
      [1, true],
      [1, true],
      [1, true],
    ]);
  });

  it("answers success without a body in protobuf and {} in JSON, in the media type of the request", async () => {
    const receiver = await start({ traces: new RecordingSink<"traces">() });
    const binary = await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF);
    expect([binary.headers["content-type"], binary.headers["content-length"]]).toEqual(["application/x-protobuf", "0"]);
    const json = await post(receiver, "/v1/traces/", '{"resourceSpans":[]}', {
      "Content-Type": "Application/JSON; x=y",
    });
    expect([json.headers["content-type"], json.body.toString()]).toEqual(["application/json", "{}"]);
  });

  it("takes all three signals, JSON too, and counts them by receiver and transport", async () => {
    const metrics = createMetrics();
    const sinks = {
      traces: new RecordingSink<"traces">(),
      metrics: new RecordingSink<"metrics">(),
      logs: new RecordingSink<"logs">(),
    };
    const receiver = await start(sinks, LOCAL, { metrics });
    await post(
      receiver,
      "/v1/traces",
      '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":"b"}]}]}]}',
      JSON_TYPE,
    );
    await post(
      receiver,
      "/v1/metrics",
      '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"1"}]}}]}]}]}',
      JSON_TYPE,
    );
    await post(
      receiver,
      "/v1/logs",
      '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}',
      JSON_TYPE,
    );
    await exportGrpc(grpcTarget(receiver), Buffer.from(sinks.logs.bytes), exportPaths().logs);
    expect([sinks.traces.items, sinks.metrics.items, sinks.logs.items]).toEqual([2, 1, 2]);
    const text = await metrics.text();
    expect(text).toContain('otelcol_receiver_accepted_spans{receiver="otlp/edge",transport="http"} 2');
    expect(text).toContain('otelcol_receiver_accepted_metric_points{receiver="otlp/edge",transport="http"} 1');
    expect(text).toContain('otelcol_receiver_accepted_log_records{receiver="otlp/edge",transport="grpc"} 1');
    expect(text).toContain('otelcol_receiver_refused_spans{receiver="otlp/edge",transport="grpc"} 0');
    expect(text).toContain('otelcol_receiver_failed_spans{receiver="otlp/edge",transport="grpc"} 0');
  });

  it("has no service, path or counter for a signal without a pipeline", async () => {
    const metrics = createMetrics();
    const receiver = await start({ logs: new RecordingSink<"logs">() }, LOCAL, { metrics });
    expect(await exportGrpc(grpcTarget(receiver), ONE_SPAN)).toMatchObject({
      code: 12,
      details: "unknown service opentelemetry.proto.collector.trace.v1.TraceService",
    });
    const reply = await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF);
    expect([reply.status, reply.body.toString()]).toEqual([404, "404 page not found\n"]);
    expect(await metrics.text()).not.toContain("spans");
  });

  it("takes a request without items as a success that no consumer sees", async () => {
    const traces = new RecordingSink<"traces">();
    traces.fault = () => {
      throw new Error("the backend is down");
    };
    const receiver = await start({ traces });
    expect((await exportGrpc(grpcTarget(receiver), Buffer.alloc(0))).code).toBe(0);
    expect((await post(receiver, "/v1/traces", "", PROTOBUF)).status).toBe(200);
    expect((await post(receiver, "/v1/traces", "{}", JSON_TYPE)).status).toBe(200);
    expect((await post(receiver, "/v1/traces", "", JSON_TYPE)).status).toBe(400);
  });

  it("acknowledges only when the pipeline has taken the batch", async () => {
    const traces = new RecordingSink<"traces">();
    const consuming = gate();
    const release = gate();
    traces.fault = () => {
      consuming.open();
      return release.opened;
    };
    const receiver = await start({ traces });
    let answered = false;
    const reply = exportGrpc(grpcTarget(receiver), ONE_SPAN).then((got) => {
      answered = true;
      return got;
    });
    await consuming.opened;
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    release.open();
    expect((await reply).code).toBe(0);
  });

  it("answers malformed requests with INTERNAL over gRPC and a Status in the encoding of the request over HTTP", async () => {
    const metrics = createMetrics();
    const lines: string[] = [];
    const logger = createLogger({ level: "warn", encoding: "json", write: (line) => lines.push(line) });
    const receiver = await start({ traces: new RecordingSink<"traces">() }, LOCAL, { metrics, logger });
    const broken = Buffer.from([0x0a, 0xff, 0xff, 0xff]);
    const grpc = await exportGrpc(grpcTarget(receiver), broken);
    expect(grpc.code).toBe(13);
    expect(grpc.details).toMatch(/^grpc: error unmarshalling request: /);
    const binary = await post(receiver, "/v1/traces", broken, PROTOBUF);
    expect([binary.status, binary.headers["content-type"], binary.body[0], binary.body[1]]).toEqual([
      400,
      "application/x-protobuf",
      8,
      3,
    ]);
    const json = await post(receiver, "/v1/traces", '{"resourceSpans":', JSON_TYPE);
    expect([json.status, JSON.parse(json.body.toString()).code]).toEqual([400, 3]);
    expect(await metrics.text()).toContain(
      'omnishim_receiver_rejected_requests{receiver="otlp/edge",transport="http",reason="malformed"} 2',
    );
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      "a grpc request could not be read as traces; its sender was told",
      "a http request could not be read as traces; its sender was told",
    ]);
  });

  it("tells senders to try again, with the wait in every form that they read", async () => {
    const metrics = createMetrics();
    const traces = new RecordingSink<"traces">();
    traces.fault = () => {
      throw new ConsumeError("retryable", "sending queue is full", { retryAfterMs: 1200 });
    };
    const receiver = await start({ traces }, LOCAL, { metrics });
    const grpc = await exportGrpc(grpcTarget(receiver), ONE_SPAN);
    expect([grpc.code, grpc.details]).toEqual([14, "sending queue is full"]);
    const [details] = grpc.metadata.get("grpc-status-details-bin") as Buffer[];
    const [retryInfo] = grpc.metadata.get("google.rpc.retryinfo-bin") as Buffer[];
    const status = protoRoot()
      .lookupType("google.rpc.Status")
      .decode(details as Buffer)
      .toJSON();
    expect(status["details"][0].typeUrl).toBe("type.googleapis.com/google.rpc.RetryInfo");
    expect(Buffer.from(status["details"][0].value, "base64").equals(retryInfo as Buffer)).toBe(true);
    const json = await post(receiver, "/v1/traces", '{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}', JSON_TYPE);
    expect([json.status, json.headers["retry-after"]]).toEqual([503, "2"]);
    expect(JSON.parse(json.body.toString())).toEqual({
      code: 14,
      message: "sending queue is full",
      details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.2s" }],
    });
    const text = await metrics.text();
    expect(text).toContain('otelcol_receiver_refused_spans{receiver="otlp/edge",transport="grpc"} 1');
    expect(text).toContain('otelcol_receiver_refused_spans{receiver="otlp/edge",transport="http"} 1');
  });

  it.each<[string, ConsumeError | Error, number, number]>([
    ["a permanent error", new ConsumeError("permanent", "no"), 13, 500],
    ["a permanent error with a code", new ConsumeError("permanent", "no", { grpcCode: 3 }), 3, 400],
    ["throttling", new ConsumeError("retryable", "no", { grpcCode: 8, retryAfterMs: 100 }), 8, 429],
    ["an error that is not a ConsumeError", new Error("no"), 14, 503],
  ])("answers %s", async (_, error, code, status) => {
    const traces = new RecordingSink<"traces">();
    traces.fault = () => {
      throw error;
    };
    const receiver = await start({ traces });
    expect((await exportGrpc(grpcTarget(receiver), ONE_SPAN)).code).toBe(code);
    expect((await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF)).status).toBe(status);
  });

  it("checks method before type, and says what it takes", async () => {
    const receiver = await start({ traces: new RecordingSink<"traces">() });
    for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
      const reply = await post(receiver, "/v1/traces", "", {}, { method });
      expect([reply.status, reply.headers.allow, reply.body.toString()]).toEqual([
        405,
        "POST",
        "405 method not allowed, supported: [POST]",
      ]);
    }
    expect((await post(receiver, "/v1/traces", "", {}, { method: "HEAD" })).status).toBe(405);
    for (const type of [{}, { "Content-Type": "application/protobuf" }, { "Content-Type": "application/grpc" }])
      expect((await post(receiver, "/v1/traces", ONE_SPAN, type)).status).toBe(415);
  });

  it("serves the paths that the file names", async () => {
    const traces = new RecordingSink<"traces">();
    const receiver = await start({ traces }, { http: { endpoint: "127.0.0.1:0", traces_url_path: "otlp/spans" } });
    expect((await post(receiver, "/otlp/spans", ONE_SPAN, PROTOBUF)).status).toBe(200);
    expect((await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF)).status).toBe(404);
  });

  it("hands metadata and peer on when include_metadata is set", async () => {
    const calls: unknown[] = [];
    const traces = {
      mutatesData: false,
      consume: async (_: unknown, call: { metadata?: ReadonlyMap<string, readonly string[]>; peer?: string }) => {
        calls.push([call.metadata?.get("x-tenant"), /^127\.0\.0\.1:\d+$/.test(call.peer ?? "")]);
      },
    };
    const receiver = await start({ traces } as never, { http: { endpoint: "127.0.0.1:0", include_metadata: true } });
    await post(receiver, "/v1/traces", ONE_SPAN, { ...PROTOBUF, "X-Tenant": "a" });
    expect(calls).toEqual([[["a"], true]]);
  });

  it("listens on Unix sockets", async () => {
    const folder = await mkdtemp(join(tmpdir(), "otlp-"));
    undo.push(() => rm(folder, { recursive: true }));
    const traces = new RecordingSink<"traces">();
    const receiver = await start(
      { traces },
      {
        grpc: { endpoint: `unix://${folder}/grpc.sock` },
        http: { endpoint: join(folder, "http.sock"), transport: "unix" },
      },
    );
    expect((await exportGrpc(`unix://${folder}/grpc.sock`, ONE_SPAN)).code).toBe(0);
    const reply = await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF, { socketPath: join(folder, "http.sock") });
    expect(reply.status).toBe(200);
    expect(traces.items).toBe(2);
  });

  it("logs one line a port: which address, and who can reach it", async () => {
    const lines: string[] = [];
    const logger = createLogger({ level: "info", encoding: "console", write: (line) => lines.push(line) });
    const receiver = await start({ traces: new RecordingSink<"traces">() }, LOCAL, { logger });
    expect(lines.map((line) => line.split("\t")[2]?.trim())).toEqual([
      `OTLP/gRPC listens on ${receiver.grpc?.address}: only this machine can reach it`,
      `OTLP/HTTP listens on ${receiver.http?.address}: only this machine can reach it`,
    ]);
  });

  it("fails to start with the key to change when a port is taken, and frees the other one", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    undo.push(() => new Promise((resolve) => holder.close(resolve)));
    const lines: string[] = [];
    const taken = (holder.address() as { port: number }).port;
    const make = otlpReceiverFactory
      .configure({ protocols: { grpc: { endpoint: "127.0.0.1:0" }, http: { endpoint: `127.0.0.1:${taken}` } } })
      .create(
        testSettings("otlp", {
          logger: createLogger({ level: "warn", encoding: "json", write: (line) => lines.push(line) }),
        }),
      );
    const receiver = make({ traces: new RecordingSink<"traces">() }) as OtlpReceiver;
    await expect(receiver.start(new TestHost())).rejects.toThrow(
      new RegExp(
        `^listen tcp 127.0.0.1:${taken}: bind: address already in use; .*receivers::otlp::protocols::http::endpoint`,
      ),
    );
    expect(lines).toEqual([]);
    await expect(exportGrpc(grpcTarget(receiver), ONE_SPAN)).resolves.toMatchObject({ code: 14 });
  });

  it("answers what is in progress on shutdown, then refuses; twice and before start is fine", async () => {
    const traces = new RecordingSink<"traces">();
    const consuming = gate();
    const release = gate();
    let waiting = 0;
    traces.fault = () => {
      if (++waiting === 2) consuming.open();
      return release.opened;
    };
    const receiver = await start({ traces });
    const grpc = exportGrpc(grpcTarget(receiver), ONE_SPAN);
    const json = post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF);
    await consuming.opened;
    const stopped = Promise.all([
      receiver.shutdown(AbortSignal.timeout(10_000)),
      receiver.shutdown(AbortSignal.timeout(10_000)),
    ]);
    release.open();
    expect([(await grpc).code, (await json).status]).toEqual([0, 200]);
    await stopped;
    expect(traces.items).toBe(2);
    expect((await exportGrpc(grpcTarget(receiver), ONE_SPAN)).code).toBe(14);
    const unstarted = otlpReceiverFactory.configure({ protocols: LOCAL }).create(testSettings("otlp"))({});
    await unstarted.shutdown(AbortSignal.timeout(1000));
  });

  it("survives arbitrary bytes on both ports", async () => {
    const traces = new RecordingSink<"traces">();
    const receiver = await start({ traces });
    const heads = ["", "POST /v1/traces HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01"];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...heads),
        fc.uint8Array({ maxLength: 300 }),
        fc.boolean(),
        async (head, tail, grpc) => {
          const socket = connect((grpc ? receiver.grpc : receiver.http)?.port ?? 0, "127.0.0.1");
          const closed = new Promise((resolve) => socket.once("close", resolve));
          socket.on("error", () => {}).resume();
          socket.end(Buffer.concat([Buffer.from(head, "latin1"), tail]));
          await closed;
        },
      ),
      { numRuns: 150 },
    );
    expect((await exportGrpc(grpcTarget(receiver), ONE_SPAN)).code).toBe(0);
    expect((await post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF)).status).toBe(200);
    expect(traces.items).toBe(2);
  });

  it("acknowledges nothing that is not in the pipeline, and leaves no call without an answer, when it stops under load", async () => {
    const traces = new RecordingSink<"traces">();
    const busy = gate();
    traces.fault = async () => {
      if (traces.batches.length >= 50) busy.open();
      await new Promise((resolve) => setImmediate(resolve));
    };
    const receiver = await start({ traces });
    const target = grpcTarget(receiver);
    const client = new Client(target, credentials.createInsecure());
    undo.push(() => client.close());
    const agent = new http.Agent({ keepAlive: true });
    undo.push(() => agent.destroy());
    const same = (bytes: Buffer): Buffer => bytes;
    let accepted = 0;
    const overGrpc = (): Promise<boolean> =>
      new Promise((resolve) => {
        client.makeUnaryRequest(exportPaths().traces, same, same, ONE_SPAN, (error: ServiceError | null) => {
          if (!error) accepted++;
          else expect(error.code).toBe(14);
          resolve(!error);
        });
      });
    const overHttp = (): Promise<boolean> =>
      post(receiver, "/v1/traces", ONE_SPAN, PROTOBUF, { agent }).then(
        (reply) => {
          expect(reply.status).toBe(200);
          accepted++;
          return true;
        },
        () => false,
      );
    const until = async (send: () => Promise<boolean>): Promise<void> => {
      while (await send());
    };
    const senders = [
      ...Array.from({ length: 8 }, () => until(overGrpc)),
      ...Array.from({ length: 4 }, () => until(overHttp)),
    ];
    await busy.opened;
    await receiver.shutdown(AbortSignal.timeout(10_000));
    const taken = traces.items;
    await Promise.all(senders);
    expect(accepted).toBe(taken);
    expect(traces.items).toBe(taken);
  });
});
