import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server as HttpServer } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { Authority } from "../../../test/kit/certificates.ts";
import { FakeClock } from "../../../test/kit/clock.ts";
import { namesIn, spansNamed } from "../../../test/kit/named-spans.ts";
import { OtlpSink } from "../../../test/kit/otlp-sink.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import { decodeSection } from "../../config/schema.ts";
import type { Settings, Signal } from "../../kernel/api.ts";
import type { ConsumeError } from "../../kernel/errors.ts";
import { WireWriter } from "../../pdata/wire.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { otlpGrpcSchema } from "./config.ts";
import { otlpGrpcExporterFactory } from "./factory.ts";
import { OtlpGrpcSender } from "./otlp.ts";

const batch = (signal: Signal, text = "span"): AnyBatch => ({
  signal,
  bytes: new WireWriter()
    .message(1, (it) => it.message(2, (scope) => scope.message(2, (span) => span.string(5, text))))
    .finish(),
  items: 1,
});
const patient = new AbortController().signal;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function sinkOf(...options: Parameters<typeof OtlpSink.start>): Promise<OtlpSink> {
  const sink = await OtlpSink.start(...options);
  cleanups.push(() => sink.close());
  return sink;
}

async function senderTo(endpoint: string, over: object = {}, settings: Settings = testSettings("otlp_grpc")) {
  const section = { endpoint, tls: { insecure: true }, ...over };
  const sender = new OtlpGrpcSender(decodeSection(otlpGrpcSchema, section).config, settings);
  await sender.open();
  cleanups.push(() => sender.close());
  return sender;
}

const failureOf = async (work: Promise<void>): Promise<ConsumeError> =>
  work.then(
    () => expect.fail("expected a refusal"),
    (error: ConsumeError) => error,
  );

describe("otlpGrpcSchema", () => {
  it("has the Collector's defaults", () => {
    expect(decodeSection(otlpGrpcSchema, { endpoint: "jaeger:4317" }).effective).toMatchObject({
      compression: "gzip",
      compression_params: { level: 0 },
      timeout: "5s",
      wait_for_ready: false,
      balancer_name: "round_robin",
      write_buffer_size: 524288,
      retry_on_failure: { enabled: true },
      sending_queue: { enabled: true, queue_size: 1000 },
    });
  });

  it.each([
    [{}, "endpoint: is required"],
    [{ endpoint: "" }, 'endpoint: requires a non-empty "endpoint"'],
    [
      { endpoint: "a:1", compression: "zstd" },
      'compression: compression "zstd" is not available over gRPC in this build (gzip and none are)',
    ],
    [{ endpoint: "a:1", compression: "brotli" }, 'compression: unsupported compression type "brotli"'],
    [{ endpoint: "a:1", headers: { "bad name": "x" } }, 'headers::bad name: invalid header name "bad name"'],
    [{ endpoint: "a:1", balancer_name: "grpclb" }, 'balancer_name: expected one of "round_robin", "pick_first"'],
    [
      { endpoint: "a:1", tls: { insecur: true } },
      "tls::insecur: 'tls' has invalid keys: insecur (did you mean `insecure`?)",
    ],
  ])("refuses %j", (section, message) => {
    expect(() => decodeSection(otlpGrpcSchema, section)).toThrow(message);
  });

  it("hides header values when the configuration is printed", () => {
    const { effective } = otlpGrpcExporterFactory.configure({
      endpoint: "a:1",
      headers: { authorization: "Bearer x" },
    });
    expect(effective).toMatchObject({ headers: { authorization: "[REDACTED]" } });
  });
});

describe("OtlpGrpcSender", () => {
  it.each(["traces", "metrics", "logs"] as const)("sends %s as the bytes they are to their service", async (signal) => {
    const sink = await sinkOf();
    const sender = await senderTo(sink.address);
    await sender.send(batch(signal), patient);
    expect(sink.accepted.map((request) => [request.signal, request.bytes])).toEqual([
      [signal, Buffer.from(batch(signal).bytes)],
    ]);
  });

  it.each([
    ["gzip", {}],
    [undefined, { compression: "none" }],
    [undefined, { compression: "" }],
  ])("says grpc-encoding %s for %j", async (encoding, over) => {
    const seen: http2.IncomingHttpHeaders[] = [];
    const server = http2.createServer().on("stream", (stream, headers) => {
      seen.push(headers);
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.alloc(5));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => server.close());
    const sender = await senderTo(`127.0.0.1:${(server.address() as AddressInfo).port}`, over);
    await sender.send(batch("traces"), patient);
    expect(seen[0]?.["grpc-encoding"]).toBe(encoding);
    expect(seen[0]?.["grpc-timeout"]).toMatch(/^\d+m$/);
  });

  it.each([
    [4, {}],
    [4, { level: 1 }],
    [0, { level: -1 }],
    [2, { level: 9 }],
  ])("sends gzip with a header that says XFL %i for compression_params %j", async (extra, compression_params) => {
    const bodies: Buffer[] = [];
    const server = http2.createServer().on("stream", (stream) => {
      stream.on("data", (chunk: Buffer) => bodies.push(chunk));
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.alloc(5));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => server.close());
    const sender = await senderTo(`127.0.0.1:${(server.address() as AddressInfo).port}`, { compression_params });
    await sender.send(batch("traces"), patient);
    const body = Buffer.concat(bodies);
    // RFC 1952: 4 is "fastest algorithm", 2 "maximum compression".
    expect([body[0], body.readUInt16BE(5), body[5 + 8]]).toEqual([1, 0x1f8b, extra]);
    expect(gunzipSync(body.subarray(5))).toEqual(Buffer.from(batch("traces").bytes));
  });

  it("sends the configured headers and names itself", async () => {
    const sink = await sinkOf();
    const sender = await senderTo(sink.address, { headers: { "X-Tenant": "a", authorization: "Bearer t" } });
    await sender.send(batch("traces"), patient);
    expect(sink.accepted[0]?.metadata).toMatchObject({
      "x-tenant": ["a"],
      authorization: ["Bearer t"],
      "user-agent": [expect.stringMatching(/^omnishim\/0\.0\.0 \(linux\/\w+\) grpc-node-js\//)],
    });
  });

  it("reaches a server on a Unix socket", async () => {
    const folder = await mkdtemp(join(tmpdir(), "otlp-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const path = join(folder, "otlp.sock");
    const server = await grpcServer(ServerCredentials.createInsecure(), { address: `unix:${path}` });
    const sender = await senderTo(`unix://${path}`);
    await sender.send(batch("traces"), patient);
    expect(server.calls).toBe(1);
  });

  it.each([
    [status.CANCELLED, undefined, "retryable"],
    [status.UNKNOWN, undefined, "permanent"],
    [status.INVALID_ARGUMENT, undefined, "permanent"],
    [status.DEADLINE_EXCEEDED, undefined, "retryable"],
    [status.PERMISSION_DENIED, undefined, "permanent"],
    [status.RESOURCE_EXHAUSTED, undefined, "permanent"],
    [status.RESOURCE_EXHAUSTED, 1500, "retryable"],
    [status.ABORTED, undefined, "retryable"],
    [status.OUT_OF_RANGE, undefined, "retryable"],
    [status.UNIMPLEMENTED, undefined, "permanent"],
    [status.INTERNAL, undefined, "permanent"],
    [status.UNAVAILABLE, undefined, "retryable"],
    [status.UNAVAILABLE, 250, "retryable"],
    [status.DATA_LOSS, undefined, "retryable"],
    [status.UNAUTHENTICATED, undefined, "permanent"],
  ])("takes code %i with RetryInfo %s for %s", async (code, retryDelayMs, disposition) => {
    const fault = { kind: "code", code, ...(retryDelayMs === undefined ? {} : { retryDelayMs }) } as const;
    const sink = await sinkOf({ faults: () => fault });
    const failure = await failureOf((await senderTo(sink.address)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition, grpcCode: code, retryAfterMs: retryDelayMs });
    expect(failure.message).toMatch(new RegExp(`^${sink.address}: \\w+: planned fault ${status[code]}$`));
  });

  it.each([1, 4])(
    "sends a request of twice %i MiB in parts to a server that takes less, and loses none",
    async (mib) => {
      const server = new Server({ "grpc.max_receive_message_length": mib * 1024 * 1024 });
      const arrived: string[] = [];
      const path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
      const asIs = (bytes: Buffer): Buffer => bytes;
      server.addService(
        {
          export: {
            path,
            requestStream: false,
            responseStream: false,
            requestSerialize: asIs,
            requestDeserialize: asIs,
            responseSerialize: asIs,
            responseDeserialize: asIs,
          },
        },
        {
          export: (call: { request: Buffer }, answer: (error: null, reply: Buffer) => void) => {
            arrived.push(...namesIn(call.request));
            answer(null, Buffer.alloc(0));
          },
        },
      );
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
          error ? reject(error) : resolve(bound),
        ),
      );
      cleanups.push(() => server.forceShutdown());
      const exporter = otlpGrpcExporterFactory
        .configure({ endpoint: `127.0.0.1:${port}`, tls: { insecure: true } })
        .create(testSettings("otlp_grpc"));
      const { traces } = exporter.consumers;
      await exporter.start(new TestHost());
      const names = Array.from({ length: 2 * mib * 4 }, (_, at) => `${at}-${"x".repeat(256 * 1024)}`);
      await traces?.consume(spansNamed(...names), {});
      await exporter.shutdown(patient);
      expect(arrived.map((name) => name.slice(0, 5))).toEqual(names.map((name) => name.slice(0, 5)));
    },
  );

  it("is stopped by its signal and is retryable then", async () => {
    const sink = await sinkOf({ faults: () => ({ kind: "hang" }) });
    const sender = await senderTo(sink.address);
    const caller = new AbortController();
    const outcome = failureOf(sender.send(batch("traces"), caller.signal));
    await sink.until("the call is there", () => sink.seen === 1);
    caller.abort();
    expect(await outcome).toMatchObject({ disposition: "retryable", grpcCode: status.CANCELLED });
  });

  it("gives up after timeout", async () => {
    const sink = await sinkOf({ faults: () => ({ kind: "hang" }) });
    const failure = await failureOf(
      (await senderTo(sink.address, { timeout: "100ms" })).send(batch("traces"), patient),
    );
    expect(failure).toMatchObject({ disposition: "retryable", grpcCode: status.DEADLINE_EXCEEDED });
  });

  it("waits for a server that comes later when wait_for_ready is set, and fails at once when it is not", async () => {
    const first = await sinkOf();
    const { port, address } = first;
    await first.close();
    const hasty = await failureOf((await senderTo(address)).send(batch("traces"), patient));
    expect(hasty).toMatchObject({ disposition: "retryable", grpcCode: status.UNAVAILABLE });
    expect(hasty.message).toBe(
      `${address}: Unavailable: connect ECONNREFUSED ${address} (nothing listens there; start the peer or change endpoint)`,
    );
    const waiting = (await senderTo(address, { wait_for_ready: true })).send(batch("traces"), patient);
    const second = await sinkOf({ port });
    await waiting;
    expect(second.accepted).toHaveLength(1);
  });

  it("logs a partial success and does not retry it", async () => {
    const lines: string[] = [];
    const logger = createLogger({ level: "warn", encoding: "json", write: (line) => lines.push(line) });
    const answer = new WireWriter().message(1, (it) => it.uint(1, 3).string(2, "too old")).finish();
    const server = await grpcServer(ServerCredentials.createInsecure(), { answer });
    const sender = await senderTo(server.address, {}, testSettings("otlp_grpc", { logger }));
    await sender.send(batch("traces"), patient);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { msg: "Partial success response", message: "too old", dropped_spans: 3 },
    ]);
  });
});

/** A TraceService that counts calls. */
async function grpcServer(
  credentials: ServerCredentials,
  options: { address?: string; answer?: Buffer } = {},
): Promise<{ address: string; readonly calls: number; readonly clients: readonly string[] }> {
  const server = new Server();
  const seen = { address: "", calls: 0, clients: [] as string[] };
  server.addService(
    {
      export: {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    },
    {
      export: (call: { metadata: Metadata; getHost(): string }, answer: (error: null, reply: Buffer) => void) => {
        seen.calls++;
        seen.clients.push(call.getHost());
        answer(null, options.answer ?? Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(options.address ?? "127.0.0.1:0", credentials, (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  cleanups.push(() => server.forceShutdown());
  seen.address = `localhost:${port}`;
  return seen;
}

function secured(
  authority: Authority,
  names: [string, ...string[]],
  options: { notAfter?: number; mutual?: boolean } = {},
) {
  const { certPem, keyPem } = authority.issue({ names, ...(options.notAfter ? { notAfter: options.notAfter } : {}) });
  return ServerCredentials.createSsl(
    Buffer.from(authority.certPem),
    [{ cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) }],
    options.mutual ?? false,
  );
}

describe("OtlpGrpcSender with TLS", () => {
  const authority = new Authority();

  it.each([
    ["TLS by default", {}],
    ["insecure: true with an authority", { insecure: true }],
  ])("sends over %s", async (_, tls) => {
    const server = await grpcServer(secured(authority, ["localhost"]));
    const sender = await senderTo(server.address, { tls: { ca_pem: authority.certPem, ...tls } });
    await sender.send(batch("traces"), patient);
    expect(server.calls).toBe(1);
  });

  it("uses TLS for https:// whatever insecure says", async () => {
    const server = await grpcServer(secured(authority, ["localhost"]));
    const sender = await senderTo(`https://${server.address}`, { tls: { insecure: true } });
    const failure = await failureOf(sender.send(batch("traces"), patient));
    expect(failure.message).toContain("set tls::ca_file to the authority's certificate");
  });

  it.each([
    ["an unknown authority", ["localhost"], {}, {}, "set tls::ca_file to the authority's certificate"],
    ["another name", ["jaeger"], {}, { own: true }, "set tls::server_name_override"],
    [
      "an expired certificate",
      ["localhost"],
      { notAfter: Date.now() - 60_000 },
      { own: true },
      "has expired; renew it",
    ],
    ["no certificate of ours", ["localhost"], { mutual: true }, { own: true }, "set tls::cert_file and tls::key_file"],
  ] as const)("is refused with a hint for %s, and retries", async (_, names, server, client, hint) => {
    const { address } = await grpcServer(secured(authority, [...names], server));
    const tls = "own" in client ? { ca_pem: authority.certPem } : { ca_pem: new Authority("another").certPem };
    const failure = await failureOf((await senderTo(address, { tls })).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "retryable", grpcCode: status.UNAVAILABLE });
    expect(failure.message).toContain(hint);
  });

  it("accepts another name by server_name_override, any certificate by insecure_skip_verify", async () => {
    const server = await grpcServer(secured(authority, ["jaeger"]));
    for (const tls of [
      { ca_pem: authority.certPem, server_name_override: "jaeger" },
      { ca_pem: new Authority("another").certPem, insecure_skip_verify: true },
    ])
      await (await senderTo(server.address, { tls })).send(batch("traces"), patient);
    expect(server.calls).toBe(2);
    expect(server.clients[0]).toBe("jaeger");
  });

  it("proves itself with cert_file and key_file, and takes a renewed certificate after reload_interval", async () => {
    const folder = await mkdtemp(join(tmpdir(), "otlp-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const [cert_file, key_file] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    const install = async (by: Authority): Promise<void> => {
      const { certPem, keyPem } = by.issue({ names: ["client"] });
      await writeFile(cert_file, certPem);
      await writeFile(key_file, keyPem);
    };
    const server = await grpcServer(secured(authority, ["localhost"], { mutual: true }));
    const clock = new FakeClock();
    const tls = { ca_pem: authority.certPem, cert_file, key_file, reload_interval: "1m" };
    await install(new Authority("another"));
    const sender = await senderTo(server.address, { tls }, testSettings("otlp_grpc", { clock }));
    await failureOf(sender.send(batch("traces"), patient));
    await install(authority);
    await clock.advance(60_000);
    await sender.send(batch("traces"), patient);
    expect(server.calls).toBe(1);
  });

  it("names tls::insecure when the peer speaks no TLS", async () => {
    const server = await grpcServer(ServerCredentials.createInsecure());
    const failure = await failureOf((await senderTo(server.address, { tls: {} })).send(batch("traces"), patient));
    expect(failure.message).toContain(
      "first record does not look like a TLS handshake: the peer speaks no TLS; set tls::insecure: true",
    );
  });

  it("says that the peer may want TLS when it hangs up on a plain connection", async () => {
    const server = await grpcServer(secured(authority, ["localhost"]));
    const failure = await failureOf((await senderTo(server.address)).send(batch("traces"), patient));
    expect(failure.message).toContain("it may want TLS (unset tls::insecure");
  });

  it("names the otlp_http exporter when the peer speaks HTTP/1", async () => {
    const http: HttpServer = createServer((_request, response) => response.end());
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => http.close());
    const endpoint = `127.0.0.1:${(http.address() as AddressInfo).port}`;
    const failure = await failureOf((await senderTo(endpoint)).send(batch("traces"), patient));
    expect(failure.message).toContain("use the otlp_http exporter");
  });

  it("warns at start that http:// does not turn TLS off", async () => {
    const lines: string[] = [];
    const logger = createLogger({ level: "warn", encoding: "json", write: (line) => lines.push(line) });
    await senderTo("http://localhost:4317", { tls: {} }, testSettings("otlp_grpc", { logger }));
    expect(lines.join()).toContain("only tls::insecure: true turns it off");
  });

  it("fails to start when a certificate file is missing", async () => {
    const exporter = otlpGrpcExporterFactory
      .configure({ endpoint: "a:1", tls: { ca_file: "/nowhere/ca.pem" } })
      .create(testSettings("otlp_grpc"));
    await expect(exporter.start(new TestHost())).rejects.toThrow("tls::ca_file: ENOENT");
    await exporter.shutdown(patient);
  });
});
