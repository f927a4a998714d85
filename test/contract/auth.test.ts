import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { otlpGrpcExporterFactory } from "../../src/exporters/otlp/factory.ts";
import { otlpHttpExporterFactory } from "../../src/exporters/otlphttp/factory.ts";
import { basicAuthExtensionFactory } from "../../src/extensions/basicauth/factory.ts";
import { bearerTokenAuthExtensionFactory } from "../../src/extensions/bearertokenauth/factory.ts";
import type { Component, ExtensionFactory, Settings } from "../../src/kernel/api.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { otlpReceiverFactory } from "../../src/receivers/otlp/factory.ts";
import type { OtlpReceiver } from "../../src/receivers/otlp/receiver.ts";
import { decodeStatus, parseStatusJson } from "../../src/sending/answer.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { exportPaths } from "../../src/transport/grpc/otlp-services.ts";
import { Authority } from "../kit/certificates.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const BYTES = encodeTraces([
  { scopeSpans: [{ spans: [{ traceId: "01".repeat(16), spanId: "02".repeat(8), name: "x", startUnixNano: 1n }] }] },
]);
const BATCH = { signal: "traces" as const, bytes: BYTES, items: 1 };

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

const authority = new Authority();

async function extension(factory: ExtensionFactory, section: object): Promise<Component> {
  const made = factory.configure(section).create(testSettings(factory.type));
  await made.start(new TestHost());
  return made;
}

interface Door {
  readonly receiver: OtlpReceiver;
  readonly sink: RecordingSink<"traces">;
  readonly lines: string[];
  readonly settings: Settings;
}

/** A receiver with TLS, both protocols behind `auth`. */
async function door(auth: Component, tls: boolean): Promise<Door> {
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", encoding: "json", write: (line) => lines.push(line) });
  const settings = testSettings("otlp", { logger, metrics: createMetrics() });
  const { certPem: cert_pem, keyPem: key_pem } = authority.issue({ names: ["localhost"] });
  const protocol = {
    endpoint: "127.0.0.1:0",
    auth: { authenticator: "auth" },
    ...(tls ? { tls: { cert_pem, key_pem } } : {}),
  };
  const sink = new RecordingSink<"traces">();
  const made = otlpReceiverFactory.configure({ protocols: { grpc: protocol, http: protocol } }).create(settings);
  const receiver = made({ traces: sink }) as OtlpReceiver;
  await receiver.start(new TestHost({ auth }));
  undo.push(() => receiver.shutdown(AbortSignal.abort()));
  return { receiver, sink, lines, settings };
}

function callGrpc(port: number | undefined, authorization?: string, path = exportPaths().traces) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  undo.push(() => client.close());
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set("authorization", authorization);
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise<{ code: number; details: string }>((resolve) => {
    client.makeUnaryRequest(
      path,
      same,
      same,
      Buffer.from(BYTES),
      metadata,
      { deadline: Date.now() + 10_000 },
      (error) =>
        resolve({
          code: (error as ServiceError | null)?.code ?? 0,
          details: (error as ServiceError | null)?.details ?? "",
        }),
    );
  });
}

function post(port: number | undefined, type: string, authorization?: string, path = "/v1/traces"): Promise<Response> {
  const body = type.includes("json") ? '{"resourceSpans":[]}' : Uint8Array.from(BYTES);
  const headers = { "content-type": type, ...(authorization === undefined ? {} : { authorization }) };
  return fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers, body });
}

const BEARER = [bearerTokenAuthExtensionFactory, { token: "s3cret" }, "Bearer s3cret"] as const;
const BASIC = [
  basicAuthExtensionFactory,
  { htpasswd: { inline: "vllm:s3cret" } },
  `Basic ${Buffer.from("vllm:s3cret").toString("base64")}`,
] as const;

describe.each([BEARER, BASIC])("an otlp receiver with $type", (factory, section, right) => {
  it("takes what carries the secret, over both protocols", async () => {
    const { receiver, sink } = await door(await extension(factory, section), false);
    expect((await callGrpc(receiver.grpc?.port, right)).code).toBe(0);
    expect((await post(receiver.http?.port, "application/x-protobuf", right)).status).toBe(200);
    expect(sink.batches).toHaveLength(2);
  });

  it.each([undefined, `${right}x`, "Bearer", "Basic Og=="])("answers 401 and UNAUTHENTICATED to %j", async (wrong) => {
    const { receiver, sink, lines, settings } = await door(await extension(factory, section), false);
    const grpc = await callGrpc(receiver.grpc?.port, wrong);
    expect(grpc.code).toBe(16);
    const protobuf = await post(receiver.http?.port, "application/x-protobuf", wrong);
    expect([protobuf.status, protobuf.headers.get("content-type")]).toEqual([401, "application/x-protobuf"]);
    const status = decodeStatus(new Uint8Array(await protobuf.arrayBuffer()));
    expect([status.code, status.message]).toEqual([16, grpc.details]);
    const json = await post(receiver.http?.port, "application/json", wrong);
    expect([json.status, json.headers.get("content-type")]).toEqual([401, "application/json"]);
    expect(parseStatusJson(await json.text())).toMatchObject({ code: 16, message: grpc.details });
    expect((await post(receiver.http?.port, "text/plain", wrong, "/nowhere")).status).toBe(401);
    expect(sink.batches).toEqual([]);
    expect(lines.filter((line) => line.includes("was not let in"))).toHaveLength(2);
    expect(`${lines.join()}${grpc.details}`).not.toContain("s3cret");
    expect(await settings.metrics.text()).toMatch(/rejected_requests{[^}]*transport="http",reason="auth"} 3/);
  });

  it("answers health checks and unknown methods without asking", async () => {
    const { receiver } = await door(await extension(factory, section), false);
    expect((await callGrpc(receiver.grpc?.port, undefined, "/grpc.health.v1.Health/Check")).code).not.toBe(16);
    expect((await callGrpc(receiver.grpc?.port, undefined, "/a.B/C")).code).toBe(12);
  });
});

describe("an otlp receiver", () => {
  it.each([
    [{}, 'failed to resolve authenticator "auth": authenticator not found'],
    [
      { auth: { start: async () => {}, shutdown: async () => {} } },
      'authenticator "auth" is not a server authenticator',
    ],
  ])("does not start without its authenticator", async (extensions, message) => {
    const protocols = { http: { endpoint: "127.0.0.1:0", auth: { authenticator: "auth" } } };
    const receiver = otlpReceiverFactory.configure({ protocols }).create(testSettings("otlp"))({});
    await expect(receiver.start(new TestHost(extensions as Record<string, Component>))).rejects.toThrow(message);
  });
});

describe.each([
  ["otlp_grpc", otlpGrpcExporterFactory],
  ["otlp_http", otlpHttpExporterFactory],
] as const)("an %s exporter", (type, factory) => {
  async function exporter(open: Door, auth: Component) {
    const { receiver } = open;
    const endpoint =
      type === "otlp_grpc" ? `localhost:${receiver.grpc?.port}` : `https://localhost:${receiver.http?.port}`;
    const made = factory
      .configure({
        endpoint,
        tls: { ca_pem: authority.certPem },
        auth: { authenticator: "auth" },
        sending_queue: { enabled: false },
        retry_on_failure: { enabled: false },
      })
      .create(testSettings(type));
    const { consumers } = made;
    await made.start(new TestHost({ auth }));
    undo.push(() => made.shutdown(AbortSignal.abort()));
    return consumers.traces as NonNullable<typeof consumers.traces>;
  }

  it("shows its password, and is refused for good with a wrong one", async () => {
    const open = await door(await extension(...BASIC_PAIR), true);
    const good = await extension(basicAuthExtensionFactory, { client_auth: { username: "vllm", password: "s3cret" } });
    const bad = await extension(basicAuthExtensionFactory, { client_auth: { username: "vllm", password: "other" } });
    await (await exporter(open, good)).consume(BATCH, {});
    expect(open.sink.batches).toHaveLength(1);
    await expect((await exporter(open, bad)).consume(BATCH, {})).rejects.toMatchObject({
      disposition: "permanent",
      grpcCode: 16,
    });
    expect(open.sink.batches).toHaveLength(1);
  });

  it("shows a token that was renewed in its file, call by call", async () => {
    const folder = await mkdtemp(join(tmpdir(), "auth-"));
    undo.push(() => rm(folder, { recursive: true }));
    const filename = join(folder, "token");
    await writeFile(filename, "first");
    const open = await door(await extension(bearerTokenAuthExtensionFactory, { tokens: ["first", "second"] }), true);
    const consumer = await exporter(open, await extension(bearerTokenAuthExtensionFactory, { filename }));
    await consumer.consume(BATCH, {});
    await writeFile(filename, "second");
    await consumer.consume(BATCH, {});
    expect(open.sink.batches).toHaveLength(2);
  });

  it("does not start when what it names cannot prove anything", async () => {
    const auth = await extension(...BASIC_PAIR);
    const open = await door(auth, true);
    await expect(exporter(open, auth)).rejects.toThrow('requested authenticator "auth" is not a client authenticator');
  });

  it("says which authenticator it needs", () => {
    const section = { endpoint: "https://a:1", auth: { authenticator: "basicauth/x" } };
    expect(factory.configure(section).extensions).toEqual([{ path: ["auth", "authenticator"], id: "basicauth/x" }]);
  });
});

const BASIC_PAIR = [BASIC[0], BASIC[1]] as const;

describe("an otlp_grpc exporter", () => {
  it("refuses to send credentials in plain text, as the Collector's does", () => {
    const section = { endpoint: "a:1", tls: { insecure: true }, auth: { authenticator: "basicauth" } };
    expect(() => otlpGrpcExporterFactory.configure(section)).toThrow(
      "auth: grpc: the credentials require transport level security",
    );
  });
});
