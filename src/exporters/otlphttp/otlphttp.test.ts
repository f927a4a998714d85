import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { gunzipSync } from "node:zlib";
import { Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { Authority } from "../../../test/kit/certificates.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import { decodeSection } from "../../config/schema.ts";
import type { Settings, Signal } from "../../kernel/api.ts";
import type { ConsumeError } from "../../kernel/errors.ts";
import { WireWriter } from "../../pdata/wire.ts";
import { TooLargeError } from "../../sending/divide.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { encodeStatus } from "../../transport/rpcstatus.ts";
import { otlpHttpSchema } from "./config.ts";
import { otlpHttpExporterFactory } from "./factory.ts";
import { OtlpHttpSender, retryAfter } from "./otlphttp.ts";

const batch = (signal: Signal, name = "span"): AnyBatch => ({
  signal,
  bytes: new WireWriter()
    .message(1, (resource) => resource.message(2, (scope) => scope.message(2, (span) => span.string(5, name))))
    .finish(),
  items: 1,
});
const patient = new AbortController().signal;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Seen {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly port: number | undefined;
}
interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** A backend that records requests and answers as told; `answer` undefined never answers. */
async function backend(answer: Answer | undefined = {}, tls?: { cert: string; key: string; ca?: string }) {
  const seen: Seen[] = [];
  const watchers: (() => void)[] = [];
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { url = "", headers, socket } = request;
    seen.push({ url, headers, body: Buffer.concat(chunks), port: socket.remotePort });
    for (const watch of watchers.splice(0)) watch();
    if (!answer) return;
    response.writeHead(answer.status ?? 200, answer.headers);
    response.end(answer.body);
  };
  const listener: RequestListener = (request, response) => void take(request, response);
  const server = tls
    ? createTlsServer({ ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: true }, listener)
    : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    seen,
    arrival: () => new Promise<void>((resolve) => watchers.push(resolve)),
    url: `${tls ? "https" : "http"}://localhost:${(server.address() as AddressInfo).port}`,
  };
}

async function senderTo(endpoint: string, over: object = {}, settings: Settings = testSettings("otlp_http")) {
  const section = { ...(endpoint === "" ? {} : { endpoint }), ...over };
  const sender = new OtlpHttpSender(decodeSection(otlpHttpSchema, section).config, settings);
  await sender.open();
  cleanups.push(() => sender.close());
  return sender;
}

function withUser(url: string, user: string): string {
  return url.replace("://", `://${user}@`);
}

const failureOf = async (work: Promise<void>): Promise<ConsumeError> =>
  work.then(
    () => expect.fail("expected a refusal"),
    (error: ConsumeError) => error,
  );

describe("otlpHttpSchema", () => {
  it("has the Collector's defaults", () => {
    expect(decodeSection(otlpHttpSchema, { endpoint: "http://jaeger:4318" }).effective).toMatchObject({
      encoding: "proto",
      compression: "gzip",
      timeout: "30s",
      max_idle_conns: 100,
      idle_conn_timeout: "1m30s",
      max_conns_per_host: 0,
      disable_keep_alives: false,
      proxy_url: "",
      write_buffer_size: 524288,
    });
  });

  it.each([
    [{}, "endpoint: at least one endpoint must be specified"],
    [
      { endpoint: "jaeger:4318" },
      'endpoint: must be a valid URL with http:// or https://, got "jaeger:4318" (for example "http://jaeger:4318")',
    ],
    [{ endpoint: "http://a", encoding: "xml" }, 'encoding: expected one of "proto", "json"'],
    [{ endpoint: "http://a", compression: "lz4" }, 'compression: compression "lz4" is not available for sending'],
    [
      { endpoint: "http://a", compression_params: { level: 10 } },
      'compression_params::level: must be at most 9 for compression "gzip", got 10',
    ],
  ])("refuses %j", (section, message) => {
    expect(() => decodeSection(otlpHttpSchema, section)).toThrow(message);
  });

  it("hides header values when the configuration is printed", () => {
    const section = { endpoint: "http://a", headers: { authorization: "Bearer x" } };
    expect(otlpHttpExporterFactory.configure(section).effective).toMatchObject({
      headers: { authorization: "[REDACTED]" },
    });
  });
});

describe("OtlpHttpSender", () => {
  it.each(["traces", "metrics", "logs"] as const)("posts %s in protobuf, gzipped, to their path", async (signal) => {
    const server = await backend();
    const sender = await senderTo(`${server.url}/otlp/`);
    await sender.send(batch(signal), patient);
    const [request] = server.seen;
    expect(request).toMatchObject({
      url: `/otlp/v1/${signal}`,
      headers: {
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "user-agent": expect.stringMatching(/^omnishim\/0\.0\.0 \(linux\/\w+\)$/),
      },
    });
    expect(gunzipSync(request?.body ?? "")).toEqual(Buffer.from(batch(signal).bytes));
  });

  it("posts the bytes as they are when compression is none", async () => {
    const server = await backend();
    await (await senderTo(server.url, { compression: "none" })).send(batch("traces"), patient);
    expect(server.seen[0]?.headers["content-encoding"]).toBeUndefined();
    expect(server.seen[0]?.body).toEqual(Buffer.from(batch("traces").bytes));
  });

  it("posts OTLP JSON when encoding is json", async () => {
    const server = await backend();
    await (await senderTo(server.url, { encoding: "json", compression: "none" })).send(batch("traces"), patient);
    expect(server.seen[0]?.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(String(server.seen[0]?.body))).toEqual({
      resourceSpans: [{ scopeSpans: [{ spans: [expect.objectContaining({ name: "span" })] }] }],
    });
  });

  it("uses traces_endpoint word by word, and refuses signals that have no endpoint", async () => {
    const server = await backend();
    const sender = await senderTo("", { traces_endpoint: `${server.url}/a/b?c=d` });
    await sender.send(batch("traces"), patient);
    expect(server.seen[0]?.url).toBe("/a/b?c=d");
    expect(await failureOf(sender.send(batch("logs"), patient))).toMatchObject({
      disposition: "permanent",
      message: "either endpoint or logs_endpoint must be specified",
    });
  });

  it("sends the configured headers, but never another content type", async () => {
    const server = await backend();
    const headers = { Authorization: "Bearer t", "Content-Type": "text/plain" };
    await (await senderTo(server.url, { headers })).send(batch("traces"), patient);
    expect(server.seen[0]?.headers).toMatchObject({
      authorization: "Bearer t",
      "content-type": "application/x-protobuf",
    });
  });

  it.each([
    [{}, 1],
    [{ disable_keep_alives: true }, 3],
  ])("with %j uses %i connections for three requests", async (over, connections) => {
    const server = await backend();
    const sender = await senderTo(server.url, over);
    for (let at = 0; at < 3; at++) await sender.send(batch("traces"), patient);
    expect(new Set(server.seen.map(({ port }) => port)).size).toBe(connections);
  });

  it.each([
    [400, "permanent", 3],
    [401, "permanent", 16],
    [403, "permanent", 7],
    [404, "permanent", 12],
    [413, "permanent", 2],
    [429, "retryable", 8],
    [500, "permanent", 2],
    [501, "permanent", 2],
    [502, "retryable", 14],
    [503, "retryable", 14],
    [504, "retryable", 14],
  ])("takes status %i for %s with code %i", async (status, disposition, grpcCode) => {
    const server = await backend({ status });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition, grpcCode, retryAfterMs: undefined });
    expect(failure.message).toBe(
      `error exporting items, request to ${server.url}/v1/traces responded with HTTP Status Code ${status}`,
    );
  });

  it.each([
    [413, ""],
    [400, "http: request body too large"],
  ])("says with status %i %j that the request is too large, so that it is sent in parts", async (status, message) => {
    const headers = { "content-type": "application/x-protobuf" };
    const server = await backend({ status, headers, body: encodeStatus(3, message) });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure).toBeInstanceOf(TooLargeError);
    expect(failure.disposition).toBe("permanent");
  });

  it("says what the Status in the answer says, and waits as long as RetryInfo says", async () => {
    const server = await backend({
      status: 503,
      headers: { "content-type": "application/x-protobuf" },
      body: encodeStatus(14, "queue is full", 1500),
    });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure.retryAfterMs).toBe(1500);
    expect(failure.message).toMatch(/HTTP Status Code 503, Message=queue is full$/);
  });

  it("waits as long as Retry-After says", async () => {
    const server = await backend({ status: 429, headers: { "retry-after": "2" } });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "retryable", retryAfterMs: 2000 });
  });

  it("names the place a redirect points to and does not follow it", async () => {
    const server = await backend({ status: 308, headers: { location: "http://elsewhere/" } });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure.disposition).toBe("permanent");
    expect(failure.message).toContain("Location=http://elsewhere/ (redirects are not followed");
  });

  it.each([
    ["application/x-protobuf", new WireWriter().message(1, (it) => it.uint(1, 3).string(2, "too old")).finish()],
    ["application/json; charset=utf-8", '{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}'],
  ])("logs a partial success in %s and does not retry it", async (type, body) => {
    const lines: string[] = [];
    const logger = createLogger({ level: "warn", encoding: "json", write: (line) => lines.push(line) });
    const server = await backend({ headers: { "content-type": type }, body });
    const sender = await senderTo(server.url, {}, testSettings("otlp_http", { logger }));
    await sender.send(batch("traces"), patient);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { msg: "Partial success response", message: "too old", dropped_spans: 3 },
    ]);
  });

  it.each([
    ["application/x-protobuf", Buffer.from([0x0a, 9])],
    ["application/json", "nonsense"],
  ])("is permanent when a success in %s cannot be read, as in the Collector", async (type, body) => {
    const server = await backend({ headers: { "content-type": type }, body });
    const failure = await failureOf((await senderTo(server.url)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "permanent", message: expect.stringContaining("error parsing") });
  });

  it("takes any other success for one, and reads no more than 64 KiB of it", async () => {
    const server = await backend({ headers: { "content-type": "text/html" }, body: "x".repeat(8_000_000) });
    await (await senderTo(server.url)).send(batch("traces"), patient);
  });

  it("is stopped by its signal", async () => {
    const server = await backend(undefined);
    const sender = await senderTo(server.url);
    const caller = new AbortController();
    const arrival = server.arrival();
    const outcome = failureOf(sender.send(batch("traces"), caller.signal));
    await arrival;
    caller.abort(new Error("enough"));
    expect(await outcome).toMatchObject({ disposition: "retryable", message: expect.stringContaining("enough") });
  });

  it.each([
    ["asks the proxy_url for http://", "http://jaeger.test:4318", "POST http://jaeger.test:4318/v1/traces"],
    ["tunnels through the proxy_url to https://", "https://jaeger.test:4318", "CONNECT jaeger.test:4318"],
  ])("%s", async (_, endpoint, asked) => {
    const seen: string[] = [];
    const proxy = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      request.resume().on("end", () => response.end());
    }).on("connect", (request, socket) => {
      seen.push(`CONNECT ${request.url}`);
      socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => proxy.close());
    const proxy_url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const outcome = (await senderTo(endpoint, { proxy_url })).send(batch("traces"), patient);
    await outcome.catch((error: ConsumeError) => expect(error.disposition).toBe("retryable"));
    expect(seen).toEqual([asked]);
  });
});

describe("OtlpHttpSender when there is no answer", () => {
  const authority = new Authority();
  const issued = (name: string, ca?: string) => {
    const { certPem, keyPem } = authority.issue({ names: [name] });
    return { cert: certPem, key: keyPem, ...(ca === undefined ? {} : { ca }) };
  };

  it("is retryable and says that nothing listens there", async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const failure = await failureOf((await senderTo(`http://127.0.0.1:${port}`)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "retryable", grpcCode: 14 });
    expect(failure.message).toBe(
      `failed to make an HTTP request: http://127.0.0.1:${port}/v1/traces: connect ECONNREFUSED 127.0.0.1:${port} (nothing listens there; start the peer or change endpoint)`,
    );
  });

  it("sends over TLS to a trusted server, with a certificate of its own when asked", async () => {
    const server = await backend({}, issued("localhost", authority.certPem));
    const client = authority.issue({ names: ["client"] });
    const tls = { ca_pem: authority.certPem, cert_pem: client.certPem, key_pem: client.keyPem };
    await (await senderTo(server.url, { tls })).send(batch("traces"), patient);
    expect(server.seen).toHaveLength(1);
  });

  it.each([
    ["an unknown authority", "localhost", {}, "set tls::ca_file to the authority's certificate"],
    ["another name", "jaeger", { ca_pem: authority.certPem }, "set tls::server_name_override"],
  ])("gives a hint for %s", async (_, name, tls, hint) => {
    const server = await backend({}, issued(name));
    const failure = await failureOf((await senderTo(server.url, { tls })).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "retryable", message: expect.stringContaining(hint) });
  });

  it("accepts another name by server_name_override", async () => {
    const server = await backend({}, issued("jaeger"));
    const tls = { ca_pem: authority.certPem, server_name_override: "jaeger" };
    await (await senderTo(server.url, { tls })).send(batch("traces"), patient);
    expect(server.seen).toHaveLength(1);
  });

  it("says to write http:// when the peer speaks no TLS, and https:// when it hangs up", async () => {
    const plain = await backend();
    const wrong = await failureOf(
      (await senderTo(plain.url.replace("http:", "https:"))).send(batch("traces"), patient),
    );
    expect(wrong.message).toContain("write http:// instead of https:// in endpoint");
    const secure = await backend({}, issued("localhost"));
    const closed = await failureOf(
      (await senderTo(secure.url.replace("https:", "http:"))).send(batch("traces"), patient),
    );
    expect(closed.message).toContain("it may want TLS");
  });

  it("names the otlp_grpc exporter when the peer speaks gRPC", async () => {
    const server = new GrpcServer();
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    cleanups.push(() => server.forceShutdown());
    const failure = await failureOf((await senderTo(`http://127.0.0.1:${port}`)).send(batch("traces"), patient));
    expect(failure).toMatchObject({ disposition: "retryable" });
    expect(failure.message).toContain("use the otlp_grpc exporter");
  });
});

describe("retryAfter", () => {
  const now = Date.parse("2026-11-22T10:00:00Z");
  it.each([
    ["3", 3000],
    ["0", 0],
    ["Sun, 22 Nov 2026 10:00:05 GMT", 5000],
    ["Sun, 22 Nov 2026 09:00:00 GMT", 0],
    ["", undefined],
    ["soon", undefined],
    ["-1", undefined],
  ])("reads %j", (value, ms) => {
    expect(retryAfter(value, now)).toBe(ms);
  });
});

describe("OtlpHttpSender with a name and a password in its URL", () => {
  it("sends them as basic authentication, as the Collector does, and not in the path", async () => {
    const peer = await backend();
    const sender = await senderTo(withUser(peer.url, "user:p%40ss"));
    await sender.send(batch("traces"), patient);
    expect(peer.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from("user:p@ss").toString("base64")}`);
    expect(peer.seen[0]?.url).toBe("/v1/traces");
  });

  it.each([
    ["https://user:hunter2@gateway:4318/otlp", "https://user:[REDACTED]@gateway:4318/otlp"],
    ["https://user:a@b:c@gateway", "https://user:[REDACTED]@gateway"],
    ["https://gateway/a:b@c", "https://gateway/a:b@c"],
    ["http://user@gateway", "http://user@gateway"],
  ])("prints %s as %s in print-config, and sends to it as it is", (endpoint, printed) => {
    const { effective, config } = decodeSection(otlpHttpSchema, { endpoint, proxy_url: endpoint });
    expect(effective).toMatchObject({ endpoint: printed, proxy_url: printed });
    expect(config.endpoint).toBe(endpoint);
  });

  it("does not repeat the password of an endpoint that is no URL", () => {
    const wrong = (): unknown => decodeSection(otlpHttpSchema, { endpoint: "https://user:hunter2@gate way" });
    expect(wrong).toThrow('got "https://user:[REDACTED]@gate way"');
  });

  it("leaves a configured Authorization header as it is", async () => {
    const peer = await backend();
    const sender = await senderTo(withUser(peer.url, "user:pass"), { headers: { Authorization: "Bearer token" } });
    await sender.send(batch("logs"), patient);
    expect(peer.seen[0]?.headers.authorization).toBe("Bearer token");
  });

  it("keeps the password out of its errors", async () => {
    const refusing = await backend({ status: 401 });
    const sender = await senderTo(withUser(refusing.url, "user:hunter2"));
    const refused = await failureOf(sender.send(batch("traces"), patient));
    expect(refused.message).toContain(`${refusing.url}/v1/traces responded with HTTP Status Code 401`);
    expect(refused.message).not.toContain("hunter2");
    const nowhere = await senderTo("http://user:hunter2@127.0.0.1:1");
    expect((await failureOf(nowhere.send(batch("traces"), patient))).message).not.toContain("hunter2");
  });
});
