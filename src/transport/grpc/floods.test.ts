import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import { testSettings } from "../../../test/kit/settings.ts";
import { HttpServer } from "../http/server.ts";
import { GrpcServer } from "./server.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

const PATH = "/test.Echo/Echo";
const { clock, logger } = testSettings("otlp");
const SHARED = {
  address: { kind: "tcp" as const, host: "127.0.0.1", port: 0 },
  key: "endpoint",
  methods: new Map([[PATH, { handle: (message: Uint8Array) => message }]]),
  maxMessageBytes: 1024,
  maxConcurrentStreams: 0,
  includeMetadata: false,
  keepalive: { maxConnectionIdleMs: 0, maxConnectionAgeMs: 0, maxConnectionAgeGraceMs: 0, timeMs: 0, timeoutMs: 0 },
  enforcement: { minTimeMs: 0, permitWithoutStream: false },
  limits: { maxInFlightBytes: 1024 * 1024, maxConnections: 100, handshakeTimeoutMs: 10_000 },
  httpHint: () => "",
  clock,
  logger,
};
const HEADERS = { ":method": "POST", ":path": PATH, "content-type": "application/grpc", te: "trailers" };

async function start(): Promise<{ server: GrpcServer; port: number }> {
  const server = new GrpcServer(SHARED);
  const { port } = await server.listen();
  undo.push(() => server.close(AbortSignal.abort()));
  return { server, port };
}

function connect(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`).on("error", () => {});
  undo.push(() => session.destroy());
  return session;
}

/** The grpc-status of one call with an empty message on a connection of its own. */
async function call(port: number): Promise<string> {
  const stream = connect(port).request(HEADERS);
  let status = "";
  stream.on("trailers", (trailers) => {
    status = String(trailers["grpc-status"]);
  });
  stream.on("response", (headers) => {
    status ||= String(headers["grpc-status"] ?? "");
  });
  stream.resume().end(Buffer.alloc(5));
  await once(stream, "close");
  return status;
}

describe("GrpcServer under a flood", () => {
  it("cuts a connection that resets its streams as fast as it opens them, holds nothing, and serves others", async () => {
    const { server, port } = await start();
    const flood = connect(port);
    const closed = new Promise((resolve) => flood.once("close", resolve));
    let opened = 0;
    const turn = (): void => {
      for (let at = 0; at < 100 && !flood.closed && !flood.destroyed; at++) {
        const stream = flood.request(HEADERS).on("error", () => {});
        stream.write(Buffer.from([0, 0, 0, 0, 9, 1]));
        stream.close(http2.constants.NGHTTP2_CANCEL);
        opened++;
      }
      if (!flood.closed && !flood.destroyed && opened < 20_000) setImmediate(turn);
    };
    turn();
    await closed;
    expect(opened).toBeLessThan(20_000);
    expect(await call(port)).toBe("0");
    expect(server.budget.held).toBe(0);
  });

  it("refuses headers beyond what HTTP/2 sessions take, and serves others", async () => {
    const { server, port } = await start();
    const stream = connect(port).request({ ...HEADERS, "x-flood": "x".repeat(200_000) });
    const errors: Error[] = [];
    stream.on("error", (error) => errors.push(error)).end(Buffer.alloc(5));
    await once(stream, "close").catch(() => {});
    expect(errors).toHaveLength(1);
    expect(await call(port)).toBe("0");
    expect(server.budget.held).toBe(0);
  });
});

describe("HttpServer under a flood", () => {
  it("answers 431 to more than 16 KiB of headers", async () => {
    const server = new HttpServer({
      ...SHARED,
      maxBodyBytes: 1024,
      compressions: [],
      responseHeaders: {},
      cors: undefined,
      keepAlives: true,
      readTimeoutMs: 0,
      readHeaderTimeoutMs: 0,
      writeTimeoutMs: 0,
      idleTimeoutMs: 0,
      grpcHint: () => "",
      handle: (exchange) => exchange.respond(200, "text/plain", "in"),
    });
    const { port } = await server.listen();
    undo.push(() => server.close(AbortSignal.abort()));
    const get = async (size: number): Promise<number | undefined> => {
      const request = http.get({ host: "127.0.0.1", port, agent: false, headers: { "x-flood": "x".repeat(size) } });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    expect(await get(10_000)).toBe(200);
    expect(await get(20_000)).toBe(431);
  });
});
