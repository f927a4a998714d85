import { once } from "node:events";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { gate } from "../../../test/kit/gate.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { type LogFields, type Logger, silentLogger } from "../../telemetry/logger.ts";
import { decompress } from "../compression/decompress.ts";
import { frame } from "./framing.ts";
import type { GrpcCall, GrpcMethod } from "./method.ts";
import { GrpcServer, type GrpcServerOptions } from "./server.ts";
import { GrpcError } from "./status.ts";

const PATH = "/pkg.Echo/Echo";
const MIB = 1024 * 1024;

/** Undone after each test. */
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

interface Started {
  readonly server: GrpcServer;
  readonly port: number;
  readonly refused: string[];
  readonly lines: string[];
}

function options(handle: GrpcMethod["handle"]): GrpcServerOptions {
  return {
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    key: "endpoint",
    methods: new Map([[PATH, { handle }]]),
    maxMessageBytes: 4 * MIB,
    maxConcurrentStreams: 0,
    includeMetadata: false,
    keepalive: { maxConnectionIdleMs: 0, maxConnectionAgeMs: 0, maxConnectionAgeGraceMs: 0, timeMs: 0, timeoutMs: 0 },
    enforcement: { minTimeMs: 0, permitWithoutStream: false },
    limits: { maxInFlightBytes: 16 * MIB, maxConnections: 100, handshakeTimeoutMs: 10_000 },
    httpHint: () => "OTLP/HTTP is on localhost:4318",
    clock: systemClock,
    logger: silentLogger,
  };
}

async function start(handle: GrpcMethod["handle"], over: Partial<GrpcServerOptions> = {}): Promise<Started> {
  const refused: string[] = [];
  const lines: string[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (message: string, fields?: LogFields) => lines.push(`${message} ${JSON.stringify(fields)}`),
  };
  const server = new GrpcServer({ ...options(handle), logger, onRefused: (reason) => refused.push(reason), ...over });
  const { port } = await server.listen();
  undo.push(() => server.close(AbortSignal.abort()));
  return { server, port, refused, lines };
}

const echo = (message: Uint8Array): Uint8Array => message;

function grpcJs(port: number, options = {}): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), options);
  undo.push(() => client.close());
  return client;
}

type Reply = { value?: Buffer; error?: ServiceError };
const same = (bytes: Buffer): Buffer => bytes;

function call(client: Client, message: Uint8Array, path = PATH, deadlineMs = 10_000): Promise<Reply> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      same,
      same,
      Buffer.from(message),
      new Metadata(),
      { deadline: Date.now() + deadlineMs },
      (error, value) => resolve(error ? { error } : { value: value as Buffer }),
    );
  });
}

function session(port: number): http2.ClientHttp2Session {
  const made = http2.connect(`http://127.0.0.1:${port}`);
  made.on("error", () => {});
  undo.push(() => made.destroy());
  return made;
}

interface Raw {
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly rst: number;
}

/** A call by hand: `write` gets the request stream. */
async function raw(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  write: (stream: http2.ClientHttp2Stream) => void,
): Promise<Raw> {
  const stream = client.request({
    ":method": "POST",
    ":path": PATH,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  let response: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders = {};
  const parts: Buffer[] = [];
  stream.on("response", (got) => {
    response = got;
  });
  stream.on("trailers", (got) => {
    trailers = got;
  });
  stream.on("data", (part: Buffer) => parts.push(part));
  stream.on("error", () => {});
  write(stream);
  await once(stream, "close");
  return { headers: response, trailers, body: Buffer.concat(parts), rst: stream.rstCode };
}

const whole = (stream: http2.ClientHttp2Stream): unknown => stream.end(frame(Buffer.from("hello")));

describe("GrpcServer", () => {
  it("answers grpc-js, one call after the other and many at once, each with its own result", async () => {
    const { port } = await start(async (message) => {
      // Later calls finish first.
      for (let turn = 0; turn < 64 - (message[0] as number); turn++) await new Promise((done) => setImmediate(done));
      return message;
    });
    const client = grpcJs(port);
    const replies = await Promise.all(Array.from({ length: 64 }, (_, n) => call(client, Uint8Array.of(n, 7))));
    expect(replies.map((reply) => reply.value?.[0])).toEqual(Array.from({ length: 64 }, (_, n) => n));
  });

  it("takes messages of every size up to the limit", async () => {
    const { port, server } = await start((message) => Uint8Array.of(...Buffer.from(String(message.length))));
    const client = grpcJs(port);
    for (const size of [0, 1, 16_384, 65_535, MIB, 4 * MIB])
      expect((await call(client, Buffer.alloc(size, 1))).value?.toString()).toBe(String(size));
    expect(server.budget.held).toBe(0);
  });

  it("refuses a larger message on its prefix, while it is still being sent", async () => {
    const { port, refused } = await start(echo);
    const reply = await raw(session(port), {}, (stream) => stream.write(Buffer.from([0, 0, 0x40, 0, 1, 9, 9])));
    expect(reply.headers["grpc-status"]).toBe("8");
    expect(reply.headers["grpc-message"]).toBe("grpc: received message larger than max (4194305 vs. 4194304)");
    expect(reply.rst).toBe(http2.constants.NGHTTP2_NO_ERROR);
    expect(refused).toEqual(["message"]);
  });

  it("decompresses gzip, and holds the limit after it", async () => {
    const { port } = await start((message) => Buffer.from(String(message.length)));
    const compressed = (plain: Buffer): Buffer => {
      const body = frame(gzipSync(plain));
      body[0] = 1;
      return body;
    };
    const client = session(port);
    const good = await raw(client, { "grpc-encoding": "gzip" }, (stream) =>
      stream.end(compressed(Buffer.alloc(4 * MIB))),
    );
    expect(good.body.subarray(5).toString()).toBe(String(4 * MIB));
    const bomb = await raw(client, { "grpc-encoding": "gzip" }, (stream) =>
      stream.end(compressed(Buffer.alloc(4 * MIB + 1))),
    );
    expect(bomb.headers["grpc-status"]).toBe("8");
    expect(bomb.headers["grpc-message"]).toBe("grpc: received message after decompression larger than max 4194304");
  });

  it.each([
    [
      "an encoding it has not",
      { "grpc-encoding": "deflate" },
      "12",
      'Decompressor is not installed for grpc-encoding "deflate"',
    ],
    ["a path without a method", { ":path": "/x" }, "12", 'malformed method name: "/x"'],
    ["an unknown service", { ":path": "/a.B/C" }, "12", "unknown service a.B"],
    ["an unknown method", { ":path": "/pkg.Echo/Nope" }, "12", "unknown method Nope for service pkg.Echo"],
    ["a malformed timeout", { "grpc-timeout": "5 s" }, "13", 'malformed grpc-timeout: "5 s"'],
    ["another content type", { "content-type": "text/plain" }, "3", 'invalid gRPC request content-type "text/plain"'],
    ["another method", { ":method": "PUT" }, "13", 'Received a HEADERS frame with :method "PUT" which should be POST'],
  ])("answers %s as grpc-go does", async (_, headers, code, message) => {
    const { port } = await start(echo);
    const reply = await raw(session(port), headers, whole);
    expect(reply.headers["grpc-status"]).toBe(code);
    expect(decodeURIComponent(String(reply.headers["grpc-message"]))).toContain(message);
  });

  it.each([
    ["application/grpc+proto", 200],
    ["application/grpc; charset=utf-8", 200],
    ["application/grpcx", 415],
  ])("answers content type %s with HTTP status %i", async (type, status) => {
    const { port } = await start(echo);
    const reply = await raw(session(port), { "content-type": type }, whole);
    expect(reply.headers[":status"]).toBe(status);
  });

  it("says INTERNAL when the compressed flag is set without an encoding, and when the request ends early", async () => {
    const { port } = await start(echo);
    const client = session(port);
    const flagged = await raw(client, {}, (stream) => stream.end(Buffer.from([1, 0, 0, 0, 0])));
    expect(flagged.headers["grpc-message"]).toBe("grpc: compressed flag set with identity or empty encoding");
    const cut = await raw(client, {}, (stream) => stream.end(Buffer.from([0, 0, 0, 0, 9, 1])));
    expect([cut.headers["grpc-status"], cut.headers["grpc-message"]]).toEqual([
      "13",
      "unexpected EOF: the request ended after 6 of 14 bytes",
    ]);
  });

  it("passes a handler's status on, with RetryInfo, and other errors as UNKNOWN", async () => {
    const { port } = await start((message) => {
      throw message.length > 0 ? new GrpcError(14, "queue is full: 100 %", 2000) : new Error("oops");
    });
    const client = grpcJs(port);
    const { error } = await call(client, Buffer.from("x"));
    expect([error?.code, error?.details]).toEqual([14, "queue is full: 100 %"]);
    expect(error?.metadata.get("google.rpc.retryinfo-bin")).toEqual([Buffer.from("0a020802", "hex")]);
    expect((await call(client, Buffer.alloc(0))).error?.code).toBe(2);
  });

  it("answers DEADLINE_EXCEEDED when the handler is not done in time, and aborts it", async () => {
    let seen: AbortSignal | undefined;
    const { port } = await start((_, { signal }: GrpcCall) => {
      seen = signal;
      return new Promise(() => {});
    });
    const reply = await raw(session(port), { "grpc-timeout": "20m" }, whole);
    expect(reply.headers["grpc-status"]).toBe("4");
    expect(seen?.aborted).toBe(true);
  });

  it("does not hand on a message that was being decompressed when its call was answered", async () => {
    const clock = new FakeClock();
    let handled = 0;
    const { port, server } = await start(
      (message) => {
        handled++;
        return message;
      },
      { clock },
    );
    // Long bodies wait in line behind these.
    const long = gzipSync(Buffer.alloc(32 * MIB));
    const others = Array.from({ length: 4 }, () => decompress("gzip", long, 32 * MIB));
    const body = frame(gzipSync(Buffer.alloc(2 * MIB)));
    body[0] = 1;
    const reply = raw(session(port), { "grpc-encoding": "gzip", "grpc-timeout": "1S" }, (stream) => stream.end(body));
    while (server.budget.held === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(1000);
    expect((await reply).headers["grpc-status"]).toBe("4");
    await Promise.all(others);
    await decompress("gzip", long, 32 * MIB);
    expect([handled, server.budget.held]).toEqual([0, 0]);
  });

  it("aborts the handler when the client goes away", async () => {
    const aborted = gate();
    const handling = gate();
    const { port, server } = await start((_, { signal }) => {
      signal.addEventListener("abort", () => aborted.open());
      handling.open();
      return new Promise(() => {});
    });
    const client = session(port);
    whole(
      client.request({ ":method": "POST", ":path": PATH, "content-type": "application/grpc" }).on("error", () => {}),
    );
    await handling.opened;
    expect(server.budget.held).toBe(10);
    client.destroy();
    await aborted.opened;
    expect(server.budget.held).toBe(0);
  });

  it("is not held up by a client that sends slowly", async () => {
    const { port } = await start(echo);
    const slow = session(port);
    const stream = slow.request({ ":method": "POST", ":path": PATH, "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.write(frame(Buffer.alloc(1000)).subarray(0, 500));
    const other = slow.request({ ":method": "POST", ":path": PATH, "content-type": "application/grpc" });
    other.end(frame(Buffer.from("fast")));
    const [headers] = await once(other, "response");
    expect(headers[":status"]).toBe(200);
    expect((await call(grpcJs(port), Buffer.from("x"))).value?.toString()).toBe("x");
  });

  it("answers DEADLINE_EXCEEDED to a request that does not arrive within receive_timeout, and gives its bytes back", async () => {
    const { port, refused, server } = await start(echo, {
      limits: { maxInFlightBytes: MIB, maxConnections: 10, handshakeTimeoutMs: 10_000, receiveTimeoutMs: 100 },
    });
    const stream = session(port).request({ ":method": "POST", ":path": PATH, "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.write(frame(Buffer.alloc(1000)).subarray(0, 500));
    const [headers] = await once(stream, "response");
    expect(headers).toMatchObject({ "grpc-status": "4" });
    expect(String(headers["grpc-message"])).toContain("receive_timeout");
    expect(refused).toEqual(["slow"]);
    expect(server.budget.held).toBe(0);
    expect((await call(grpcJs(port), Buffer.from("x"))).value?.toString()).toBe("x");
  });

  it("does not count the handler's time into receive_timeout", async () => {
    const handle: GrpcMethod["handle"] = (message) => new Promise((resolve) => setTimeout(() => resolve(message), 150));
    const { port } = await start(handle, {
      limits: { maxInFlightBytes: MIB, maxConnections: 10, handshakeTimeoutMs: 10_000, receiveTimeoutMs: 50 },
    });
    expect((await call(grpcJs(port), Buffer.from("x"))).value?.toString()).toBe("x");
  });

  it("refuses more headers than max_header_size", async () => {
    const { port } = await start(echo, {
      limits: { maxInFlightBytes: MIB, maxConnections: 10, handshakeTimeoutMs: 10_000, maxHeaderBytes: 4096 },
    });
    const status = async (size: number): Promise<unknown> => {
      const headers = { ":method": "POST", ":path": PATH, "content-type": "application/grpc", x: "x".repeat(size) };
      const stream = session(port).request(headers);
      stream.end(frame(Buffer.from("x")));
      const [response] = await once(stream, "response");
      return response["grpc-status"];
    };
    expect(await status(3000)).toBeUndefined();
    expect(await status(5000)).toBe("8");
  });

  it("refuses with UNAVAILABLE and RetryInfo what would exceed the bytes in progress", async () => {
    const { port, refused, server } = await start(echo, {
      limits: { maxInFlightBytes: 100_000, maxConnections: 10, handshakeTimeoutMs: 10_000 },
    });
    const client = session(port);
    const holder = client.request({ ":method": "POST", ":path": PATH, "content-type": "application/grpc" });
    holder.on("error", () => {});
    holder.write(frame(Buffer.alloc(200_000)).subarray(0, 90_000));
    while (server.budget.held < 90_000) await new Promise((resolve) => setImmediate(resolve));
    const reply = await raw(client, {}, (stream) => stream.end(frame(Buffer.alloc(20_000))));
    expect(reply.headers["grpc-status"]).toBe("14");
    expect(reply.headers["google.rpc.retryinfo-bin"]).toBeDefined();
    expect(refused).toEqual(["in_flight"]);
    holder.close(http2.constants.NGHTTP2_CANCEL);
    while (server.budget.held > 0) await new Promise((resolve) => setImmediate(resolve));
    expect((await raw(client, {}, whole)).trailers["grpc-status"]).toBe("0");
  });

  it("gives metadata and peer to the handler only as configured", async () => {
    const seen: GrpcCall["metadata"][] = [];
    const handle: GrpcMethod["handle"] = (message, { metadata, peer }) => {
      expect(peer).toMatch(/^127\.0\.0\.1:\d+$/);
      seen.push(metadata);
      return message;
    };
    const without = await start(handle);
    await raw(session(without.port), { "x-tenant": "a" }, whole);
    const with_ = await start(handle, { includeMetadata: true });
    await raw(session(with_.port), { "x-tenant": ["a", "b"] }, whole);
    expect(seen[0]).toBeUndefined();
    expect(seen[1]?.get("x-tenant")).toEqual(["a, b"]);
    expect(seen[1]?.get("host")).toEqual([`127.0.0.1:${with_.port}`]);
  });

  it("announces max_concurrent_streams and an 8 MiB window", async () => {
    const { port } = await start(echo, { maxConcurrentStreams: 7 });
    const client = session(port);
    const [settings] = await once(client, "remoteSettings");
    expect(settings.maxConcurrentStreams).toBe(7);
    expect(settings.initialWindowSize).toBe(8 * MIB);
    expect((await raw(client, {}, whole)).trailers["grpc-status"]).toBe("0");
    expect(client.state.remoteWindowSize).toBeGreaterThan(7 * MIB);
  });

  it("calms down a client that pings too often", async () => {
    const { port } = await start(echo);
    const client = session(port);
    await once(client, "connect");
    const goaway = new Promise((resolve) => client.once("goaway", (code, _, data) => resolve([code, String(data)])));
    for (let ping = 0; ping < 5; ping++) client.ping(() => {});
    const closed = new Promise((resolve) => client.once("close", resolve));
    expect(await goaway).toEqual([http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings"]);
    await closed;
  });

  it("sends GOAWAY to a connection past its age, and closes it when its last call is done", async () => {
    const clock = new FakeClock();
    const handling = gate();
    const release = gate();
    const { port } = await start(
      async (message) => {
        handling.open();
        await release.opened;
        return message;
      },
      {
        clock,
        keepalive: {
          maxConnectionIdleMs: 0,
          maxConnectionAgeMs: 1000,
          maxConnectionAgeGraceMs: 0,
          timeMs: 0,
          timeoutMs: 0,
        },
      },
    );
    const client = session(port);
    const reply = raw(client, {}, whole);
    await handling.opened;
    const goaway = once(client, "goaway");
    await clock.advance(1100);
    expect((await goaway)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR);
    release.open();
    expect((await reply).trailers["grpc-status"]).toBe("0");
    await once(client, "close");
  });

  it("closes what exceeds max_connections", async () => {
    const { port, refused } = await start(echo, {
      limits: { maxInFlightBytes: MIB, maxConnections: 1, handshakeTimeoutMs: 10_000 },
    });
    expect((await raw(session(port), {}, whole)).trailers["grpc-status"]).toBe("0");
    await once(session(port), "close");
    expect(refused).toEqual(["connections"]);
  });
});

describe("GrpcServer at the wrong door", () => {
  const answer = async (port: number, bytes: string | Buffer): Promise<Buffer> => {
    const socket = connect(port, "127.0.0.1");
    const parts: Buffer[] = [];
    socket.on("data", (part) => parts.push(part)).on("error", () => {});
    socket.write(bytes);
    await once(socket, "close");
    return Buffer.concat(parts);
  };

  it("tells an HTTP/1 client where OTLP/HTTP is", async () => {
    const { port, refused, lines } = await start(echo);
    const text = (await answer(port, "POST /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")).toString();
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(text).toContain("This is the OTLP/gRPC port: it speaks HTTP/2. OTLP/HTTP is on localhost:4318");
    expect(refused).toEqual(["wrong_door"]);
    expect(lines[0]).toContain("a client sent HTTP/1 to the OTLP/gRPC port");
  });

  it("answers TLS with an alert and logs what to change, once a minute", async () => {
    const { port, lines } = await start(echo);
    const hello = Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    expect([...(await answer(port, hello))]).toEqual([0x15, 3, 1, 0, 2, 2, 40]);
    await answer(port, hello);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("protocols::grpc::tls");
  });

  it("closes on what is neither", async () => {
    const { port } = await start(echo);
    expect((await answer(port, "\0\0\0\0")).length).toBe(0);
  });
});

describe("GrpcServer's grpc.health.v1", () => {
  const check = (client: Client, service: string): Promise<Reply> =>
    call(
      client,
      service === "" ? Buffer.alloc(0) : Buffer.from([10, service.length, ...Buffer.from(service)]),
      "/grpc.health.v1.Health/Check",
    );

  it("is SERVING for the server and its services, NOT_FOUND for others", async () => {
    const client = grpcJs((await start(echo)).port);
    expect([...((await check(client, "")).value ?? [])]).toEqual([8, 1]);
    expect([...((await check(client, "pkg.Echo")).value ?? [])]).toEqual([8, 1]);
    expect((await check(client, "nope")).error?.code).toBe(5);
    expect((await call(client, Buffer.from([0xff]), "/grpc.health.v1.Health/Check")).error?.code).toBe(13);
  });

  it("tells watchers when the server stops, and ends their calls", async () => {
    const { port, server } = await start(echo);
    const watch = grpcJs(port).makeServerStreamRequest(
      "/grpc.health.v1.Health/Watch",
      same,
      (bytes: Buffer) => [...bytes],
      Buffer.alloc(0),
    );
    const seen: number[][] = [];
    watch.on("data", (status: number[]) => seen.push(status));
    await once(watch, "data");
    const failed = once(watch, "error");
    await server.close(AbortSignal.timeout(5000));
    expect((await failed)[0].code).toBe(14);
    expect(seen).toEqual([
      [8, 1],
      [8, 2],
    ]);
  });
});

describe("GrpcServer.close", () => {
  it("answers what is in progress, takes nothing new, and closes", async () => {
    const handling = gate();
    const release = gate();
    const { port, server } = await start(async (message) => {
      handling.open();
      await release.opened;
      return message;
    });
    const client = grpcJs(port);
    const reply = call(client, Buffer.from("x"));
    await handling.opened;
    const closed = server.close(AbortSignal.timeout(10_000));
    expect((await call(grpcJs(port), Buffer.from("y"))).error?.code).toBe(14);
    release.open();
    expect((await reply).value?.toString()).toBe("x");
    await closed;
    expect(server.connections).toBe(0);
  });

  it("ends calls with UNAVAILABLE when the deadline comes first, and acknowledges nothing after it", async () => {
    const handling = gate();
    const release = gate();
    const { port, server } = await start(async (message) => {
      handling.open();
      await release.opened;
      return message;
    });
    const reply = call(grpcJs(port), Buffer.from("x"));
    await handling.opened;
    const deadline = new AbortController();
    const closed = server.close(deadline.signal);
    deadline.abort();
    await closed;
    release.open();
    expect((await reply).error?.code).toBe(14);
  });

  it("is idempotent, legal before listen, and does not wait for silent or idle connections", async () => {
    const { port, server } = await start(echo);
    const silent = connect(port, "127.0.0.1").on("error", () => {});
    await once(silent, "connect");
    await raw(session(port), {}, whole);
    await Promise.all([server.close(AbortSignal.timeout(10_000)), server.close(AbortSignal.timeout(10_000))]);
    const never = new GrpcServer(options(echo));
    await never.close(AbortSignal.timeout(1000));
  });
});
