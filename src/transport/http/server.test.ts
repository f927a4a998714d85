import { once } from "node:events";
import * as http from "node:http";
import { connect, type Socket } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { gate } from "../../../test/kit/gate.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { type LogFields, type Logger, silentLogger } from "../../telemetry/logger.ts";
import { type Exchange, GoneError, HttpError } from "./exchange.ts";
import { DEFAULT_COMPRESSIONS, HttpServer, type HttpServerOptions } from "./server.ts";

const MIB = 1024 * 1024;

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

interface Started {
  readonly server: HttpServer;
  readonly port: number;
  readonly refused: string[];
  readonly lines: string[];
}

/** Answers with the length of the body, or with the status of the error. */
function lengths(exchange: Exchange): void {
  exchange.readBody().then(
    (body) => exchange.respond(200, "text/plain", String(body.length)),
    (error: unknown) => {
      if (error instanceof HttpError) exchange.respond(error.status, "text/plain", error.message);
      else if (!(error instanceof GoneError)) throw error;
    },
  );
}

function options(handle: HttpServerOptions["handle"]): HttpServerOptions {
  return {
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    key: "endpoint",
    maxBodyBytes: MIB,
    compressions: DEFAULT_COMPRESSIONS,
    includeMetadata: false,
    responseHeaders: {},
    cors: undefined,
    keepAlives: true,
    readTimeoutMs: 0,
    readHeaderTimeoutMs: 0,
    writeTimeoutMs: 0,
    idleTimeoutMs: 0,
    limits: { maxInFlightBytes: 16 * MIB, maxConnections: 100, handshakeTimeoutMs: 10_000 },
    grpcHint: () => "OTLP/gRPC is on localhost:4317",
    clock: systemClock,
    logger: silentLogger,
    handle,
  };
}

async function start(handle = lengths, over: Partial<HttpServerOptions> = {}): Promise<Started> {
  const refused: string[] = [];
  const lines: string[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (message: string, fields?: LogFields) => lines.push(`${message} ${JSON.stringify(fields)}`),
  };
  const server = new HttpServer({ ...options(handle), logger, onRefused: (reason) => refused.push(reason), ...over });
  const { port } = await server.listen();
  undo.push(() => server.close(AbortSignal.abort()));
  return { server, port, refused, lines };
}

interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

function send(port: number, body: string | Uint8Array, more: http.RequestOptions = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, method: "POST", agent: false, ...more }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(parts).toString(),
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** What comes back for raw bytes until the connection closes. */
async function raw(port: number, bytes: string | Buffer): Promise<Buffer> {
  const socket = connect(port, "127.0.0.1");
  const parts: Buffer[] = [];
  socket.on("data", (part) => parts.push(part)).on("error", () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(parts);
}

function open(port: number): Socket {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  undo.push(() => socket.destroy());
  return socket;
}

describe("HttpServer", () => {
  it("reads bodies up to the limit, in one piece or many", async () => {
    const { port, server } = await start();
    for (const size of [0, 1, 70_000, MIB]) expect((await send(port, Buffer.alloc(size))).text).toBe(String(size));
    const chunked = http.request({ host: "127.0.0.1", port, method: "POST", agent: false });
    for (let part = 0; part < 10; part++) chunked.write("x".repeat(100));
    chunked.end();
    const [response] = (await once(chunked, "response")) as [http.IncomingMessage];
    expect((await once(response, "data")).toString()).toBe("1000");
    expect(server.budget.held).toBe(0);
  });

  it("answers 413 on a Content-Length over the limit and closes without reading the body", async () => {
    const { port, refused } = await start();
    const socket = open(port);
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${MIB + 1}\r\n\r\nonly a bit`);
    const parts: Buffer[] = [];
    socket.on("data", (part) => parts.push(part));
    await once(socket, "end");
    const text = Buffer.concat(parts).toString();
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toContain("Connection: close");
    expect(text).toContain(`more than ${MIB} bytes (max_request_body_size)`);
    expect(refused).toEqual(["body"]);
  });

  it("answers 413 to a chunked body that grows over the limit, and to one that does when decompressed", async () => {
    const { port } = await start();
    const request = http.request({ host: "127.0.0.1", port, method: "POST", agent: false });
    request.on("error", () => {});
    for (let part = 0; part < 17; part++) request.write(Buffer.alloc(65_536));
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.statusCode).toBe(413);
    request.destroy();
    const headers = { "Content-Encoding": "gzip" };
    expect((await send(port, gzipSync(Buffer.alloc(MIB)), { headers })).status).toBe(200);
    expect((await send(port, gzipSync(Buffer.alloc(MIB + 1)), { headers })).status).toBe(413);
  });

  it("lets a client that is still sending read its answer: no reset for a second", async () => {
    const { port } = await start();
    expect((await send(port, Buffer.alloc(20 * MIB))).status).toBe(413);
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    undo.push(() => socket.destroy());
    const errors: Error[] = [];
    socket.on("error", (error) => errors.push(error));
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${100 * MIB}\r\n\r\n`);
    await once(socket, "data");
    await once(socket, "end");
    await new Promise((resolve) => socket.write(Buffer.alloc(4 * MIB), resolve));
    expect(errors).toEqual([]);
  });

  it("keeps the connection when little is left of a request that was answered early", async () => {
    const { port } = await start((exchange) => exchange.respond(404, "text/plain", "no"));
    const socket = open(port);
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 404 (.|\s)*keep-alive/);
    socket.write("abcPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 404 /);
  });

  it.each([
    ["gzip", gzipSync("plain")],
    ["GZIP", gzipSync("plain")],
    ["deflate", deflateSync("plain")],
    ["zlib", deflateSync("plain")],
    ["identity", Buffer.from("plain")],
    ["snappy", Buffer.from("\x05\x10plain", "latin1")],
  ])("decodes Content-Encoding %s", async (encoding, body) => {
    const { port } = await start();
    expect((await send(port, body, { headers: { "Content-Encoding": encoding } })).text).toBe("5");
  });

  it("answers 400 to an encoding it has not, has been told not to take, or that the body is not", async () => {
    const { port } = await start(lengths, { compressions: ["", "zstd"] });
    const br = await send(port, "x", { headers: { "Content-Encoding": "br" } });
    expect([br.status, br.text]).toEqual([400, "unsupported Content-Encoding: br"]);
    expect((await send(port, gzipSync("x"), { headers: { "Content-Encoding": "gzip" } })).status).toBe(400);
    expect((await send(port, "xxxx", { headers: { "Content-Encoding": "zstd" } })).status).toBe(400);
  });

  it("hands bodies on as they are when compression_algorithms is []", async () => {
    const { port } = await start(lengths, { compressions: [] });
    const body = gzipSync("x".repeat(1000));
    const reply = await send(port, body, { headers: { "Content-Encoding": "gzip" } });
    expect(reply.text).toBe(String(body.length));
  });

  it("answers 503 when requests in progress hold all that they may", async () => {
    const { port, server } = await start(lengths, {
      limits: { maxInFlightBytes: 1000, maxConnections: 10, handshakeTimeoutMs: 10_000 },
    });
    const slow = open(port);
    slow.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n${"x".repeat(800)}`);
    while (server.budget.held < 800) await new Promise((resolve) => setImmediate(resolve));
    expect((await send(port, Buffer.alloc(300))).status).toBe(503);
    slow.destroy();
    while (server.budget.held > 0) await new Promise((resolve) => setImmediate(resolve));
    expect((await send(port, Buffer.alloc(300))).status).toBe(200);
  });

  it("aborts the exchange's signal when the client goes away, and gives its bytes back", async () => {
    const handling = gate();
    const aborted = gate();
    const { port, server } = await start((exchange) => {
      void exchange.readBody().then(() => {
        exchange.signal.addEventListener("abort", () => aborted.open());
        handling.open();
      });
    });
    const socket = open(port);
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    await handling.opened;
    expect(server.budget.held).toBe(3);
    socket.destroy();
    await aborted.opened;
    expect(server.budget.held).toBe(0);
  });

  it("asks for the body of an Expect: 100-continue request only when it is not too long", async () => {
    const { port } = await start();
    const good = open(port);
    good.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect((await once(good, "data")).toString()).toMatch(/^HTTP\/1\.1 100 Continue/);
    const long = open(port);
    long.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${MIB + 1}\r\nExpect: 100-continue\r\n\r\n`);
    expect((await once(long, "data")).toString()).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("gives path, media type, peer and, when configured, headers", async () => {
    const seen: unknown[] = [];
    const handle = (exchange: Exchange): void => {
      seen.push([exchange.path, exchange.mediaType, exchange.metadata?.get("x-tenant")]);
      expect(exchange.peer).toMatch(/^127\.0\.0\.1:\d+$/);
      lengths(exchange);
    };
    const { port } = await start(handle);
    await send(port, "", { path: "//v1//traces/?x=1", headers: { "Content-Type": "Application/JSON; charset=utf-8" } });
    await send(port, "", { path: "/", headers: { "x-tenant": "a" } });
    const with_ = await start(handle, { includeMetadata: true });
    await send(with_.port, "", { path: "/v1/logs", headers: { "x-tenant": ["a", "b"] } });
    expect(seen).toEqual([
      ["/v1/traces", "application/json", undefined],
      ["/", "", undefined],
      ["/v1/logs", "", ["a", "b"]],
    ]);
  });

  it("adds response_headers, and closes connections without keep-alives", async () => {
    const { port } = await start(lengths, { responseHeaders: { "X-Node": "shim" }, keepAlives: false });
    const agent = new http.Agent({ keepAlive: true });
    const reply = await send(port, "", { agent });
    agent.destroy();
    expect(reply.headers["x-node"]).toBe("shim");
    expect(reply.headers.connection).toBe("close");
  });

  it("keeps read_header_timeout, read_timeout, write_timeout and idle_timeout", async () => {
    const header = await start(lengths, { readHeaderTimeoutMs: 50 });
    expect((await raw(header.port, "POST / HTTP/1.1\r\nHost:")).toString()).toMatch(/^HTTP\/1\.1 408 /);
    const whole = await start(lengths, { readTimeoutMs: 50 });
    const unfinished = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx";
    expect((await raw(whole.port, unfinished)).toString()).toMatch(/^HTTP\/1\.1 408 /);
    const write = await start(() => {}, { writeTimeoutMs: 30 });
    expect((await raw(write.port, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")).length).toBe(0);
    const idle = await start(lengths, { idleTimeoutMs: 30 });
    expect((await raw(idle.port, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")).toString()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("keeps receive_timeout where there is no read_timeout, and max_header_size", async () => {
    const limits = { maxInFlightBytes: MIB, maxConnections: 10, handshakeTimeoutMs: 10_000 };
    const slow = await start(lengths, { limits: { ...limits, receiveTimeoutMs: 50 } });
    const unfinished = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx";
    expect((await raw(slow.port, unfinished)).toString()).toMatch(/^HTTP\/1\.1 408 /);
    const { port } = await start(lengths, { limits: { ...limits, maxHeaderBytes: 4096 } });
    const withHeader = (size: number): string =>
      `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${"x".repeat(size)}\r\n\r\n`;
    expect((await raw(port, withHeader(3000))).toString()).toMatch(/^HTTP\/1\.1 200 /);
    expect((await raw(port, withHeader(5000))).toString()).toMatch(/^HTTP\/1\.1 431 /);
  });

  it("answers 400 to what is not HTTP, and closes what exceeds max_connections", async () => {
    const { port, refused } = await start(lengths, {
      limits: { maxInFlightBytes: MIB, maxConnections: 1, handshakeTimeoutMs: 10_000 },
    });
    expect((await raw(port, "get / http\r\n\r\n")).toString()).toMatch(/^HTTP\/1\.1 400 /);
    const first = open(port);
    first.write("POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(first, "data");
    expect((await raw(port, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")).length).toBe(0);
    expect(refused).toEqual(["protocol", "connections"]);
  });
});

describe("HttpServer with cors", () => {
  const cors = {
    allowedOrigins: ["https://app.example", "http://*.lab.example"],
    allowedHeaders: ["X-Token"],
    exposedHeaders: ["x-request-id"],
    maxAge: 7200,
  };
  const preflight = (origin: string, headers = "x-token"): http.RequestOptions => ({
    method: "OPTIONS",
    headers: {
      Origin: origin,
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": headers,
    },
  });

  it("answers a preflight of an allowed origin", async () => {
    const { port } = await start(lengths, { cors });
    for (const origin of ["https://app.example", "http://a.lab.example"]) {
      const { status, headers } = await send(port, "", preflight(origin));
      expect(status).toBe(204);
      expect(headers).toMatchObject({
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "x-token",
        "access-control-allow-credentials": "true",
        "access-control-max-age": "7200",
        vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
      });
    }
  });

  it("answers a preflight of another origin or header with 204 and nothing allowed", async () => {
    const { port } = await start(lengths, { cors });
    for (const request of [preflight("https://evil.example"), preflight("https://app.example", "x-other")]) {
      const { status, headers } = await send(port, "", request);
      expect(status).toBe(204);
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    }
  });

  it("marks the answer to an actual request", async () => {
    const { port } = await start(lengths, { cors });
    const allowed = await send(port, "x", { headers: { Origin: "https://APP.example" } });
    expect(allowed.headers).toMatchObject({
      "access-control-allow-origin": "https://APP.example",
      "access-control-expose-headers": "X-Request-Id",
      "access-control-allow-credentials": "true",
      vary: "Origin",
    });
    const other = await send(port, "x", { headers: { Origin: "https://evil.example" } });
    expect([other.status, other.headers["access-control-allow-origin"], other.headers.vary]).toEqual([
      200,
      undefined,
      "Origin",
    ]);
  });

  it("says in the log that headers without origins do nothing", async () => {
    const { lines } = await start(lengths, { cors: { ...cors, allowedOrigins: [] } });
    expect(lines[0]).toContain("specifies allowed headers but no allowed origins");
  });

  it("allows every origin with *, and does nothing without origins", async () => {
    const any = await start(lengths, {
      cors: { allowedOrigins: ["*"], allowedHeaders: ["*"], exposedHeaders: [], maxAge: 0 },
    });
    const reply = await send(any.port, "", preflight("https://x.example", "x-anything"));
    expect(reply.headers["access-control-allow-origin"]).toBe("*");
    expect(reply.headers["access-control-max-age"]).toBeUndefined();
    const none = await start(lengths, { cors: { ...cors, allowedOrigins: [] } });
    expect((await send(none.port, "x", { headers: { Origin: "https://app.example" } })).headers.vary).toBeUndefined();
  });
});

describe("HttpServer at the wrong door", () => {
  it("tells a gRPC client where OTLP/gRPC is, in a status that it shows and does not retry", async () => {
    const { port, refused, lines } = await start();
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    undo.push(() => client.close());
    const error = await new Promise<ServiceError | null>((resolve) => {
      const bytes = (value: Buffer): Buffer => value;
      client.makeUnaryRequest(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        bytes,
        bytes,
        Buffer.alloc(10),
        new Metadata(),
        { deadline: Date.now() + 10_000 },
        (failure) => resolve(failure),
      );
    });
    expect(error?.code).toBe(12);
    expect(error?.details).toContain("OTLP/gRPC is on localhost:4317");
    expect(refused).toEqual(["wrong_door"]);
    expect(lines[0]).toContain("a gRPC client came to the OTLP/HTTP port");
  });

  it("answers TLS with an alert and logs what to change", async () => {
    const { port, lines } = await start();
    expect([...(await raw(port, Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])))]).toEqual([0x15, 3, 1, 0, 2, 2, 40]);
    expect(lines[0]).toContain("protocols::http::tls");
  });
});

describe("HttpServer.close", () => {
  it("answers what is in progress with Connection: close, takes nothing new, and closes idle connections", async () => {
    const handling = gate();
    const release = gate();
    const { port, server } = await start((exchange) => {
      void exchange.readBody().then(async () => {
        handling.open();
        await release.opened;
        exchange.respond(200, "text/plain", "done");
      });
    });
    const agent = new http.Agent({ keepAlive: true });
    undo.push(() => agent.destroy());
    const idle = open(port);
    idle.write("POST / HTTP/1.1\r\nHost: x\r\n");
    const reply = send(port, "x", { agent });
    await handling.opened;
    const closed = server.close(AbortSignal.timeout(10_000));
    await expect(send(port, "y")).rejects.toThrow("ECONNREFUSED");
    release.open();
    expect((await reply).headers.connection).toBe("close");
    idle.destroy();
    await closed;
    expect(server.connections).toBe(0);
  });

  it("cuts what is in progress when the deadline comes first, and acknowledges nothing after it", async () => {
    const handling = gate();
    const release = gate();
    const { port, server } = await start((exchange) => {
      void exchange.readBody().then(async () => {
        handling.open();
        await release.opened;
        exchange.respond(200, "text/plain", "done");
      });
    });
    const reply = send(port, "x").catch((error: Error) => error);
    await handling.opened;
    const deadline = new AbortController();
    const closed = server.close(deadline.signal);
    deadline.abort();
    await closed;
    release.open();
    expect(await reply).toBeInstanceOf(Error);
  });

  it("is idempotent and legal before listen", async () => {
    const { server } = await start();
    await Promise.all([server.close(AbortSignal.timeout(5000)), server.close(AbortSignal.timeout(5000))]);
    await new HttpServer(options(lengths)).close(AbortSignal.timeout(5000));
  });
});
