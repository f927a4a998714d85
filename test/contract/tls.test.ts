import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import * as http2 from "node:http2";
import * as https from "node:https";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { otlpGrpcExporterFactory } from "../../src/exporters/otlp/factory.ts";
import { otlpHttpExporterFactory } from "../../src/exporters/otlphttp/factory.ts";
import type { ConsumeError } from "../../src/kernel/errors.ts";
import { otlpReceiverFactory } from "../../src/receivers/otlp/factory.ts";
import type { OtlpReceiver } from "../../src/receivers/otlp/receiver.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { Authority, type Certificate } from "../kit/certificates.ts";
import { FakeClock } from "../kit/clock.ts";
import { gate } from "../kit/gate.ts";
import { spansNamed } from "../kit/named-spans.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const servers = new Authority("the servers' authority");
const clients = new Authority("the clients' authority");
const stranger = new Authority("somebody else");
const HOUR_AGO = Date.now() - 3_600_000;
const server = servers.issue({ names: ["localhost", "127.0.0.1"] });
const client = clients.issue({ names: ["vllm"] });

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tls-"));
  await writeFile(join(folder, "clients.pem"), clients.certPem);
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a certificate and its key under `name`. */
async function files(name: string, { certPem, keyPem }: Certificate): Promise<{ cert_file: string; key_file: string }> {
  const [cert_file, key_file] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  await writeFile(cert_file, certPem);
  await writeFile(key_file, keyPem);
  return { cert_file, key_file };
}

type Protocol = "grpc" | "http";

/** A receiver with this `tls` section for one protocol, and the lines that it logged about clients it turned away. */
async function receiver(protocol: Protocol, tls: object, clock = new FakeClock()) {
  const refusals: { msg: string; peer?: string }[] = [];
  const refused = gate();
  const logger = createLogger({
    level: "warn",
    encoding: "json",
    write(line) {
      refusals.push(JSON.parse(line) as { msg: string; peer?: string });
      refused.open();
    },
  });
  const section = { protocols: { [protocol]: { endpoint: "127.0.0.1:0", tls } } };
  const sink = new RecordingSink<"traces">();
  const made = otlpReceiverFactory.configure(section).create(testSettings("otlp", { logger, clock }))({ traces: sink });
  await made.start(new TestHost());
  undo.push(() => made.shutdown(AbortSignal.abort()));
  const port = (made as OtlpReceiver)[protocol]?.port ?? 0;
  return {
    port,
    clock,
    sink,
    refusals,
    refusal: refused.opened,
  };
}

/** How a client connects. */
interface Visit extends SecureContextOptions {
  /** The name that it expects. */
  readonly name?: string;
}

/** Sends spans as a client of the protocol; "ok", or how it failed. */
function visit(protocol: Protocol, port: number, { name = "localhost", ...options }: Visit): Promise<string> {
  const body = Buffer.from(spansNamed("a").bytes);
  if (protocol === "grpc") {
    const secrets = credentials.createFromSecureContext(createSecureContext(options));
    const channel = new Client(`127.0.0.1:${port}`, secrets, {
      "grpc.ssl_target_name_override": name,
      "grpc.default_authority": name,
    });
    const same = (bytes: Buffer): Buffer => bytes;
    const path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    return new Promise((resolve) => {
      channel.makeUnaryRequest(path, same, same, body, (error: ServiceError | null) => {
        channel.close();
        resolve(error ? error.details : "ok");
      });
    });
  }
  return new Promise((resolve) => {
    const request = https.request(
      {
        ...options,
        host: "127.0.0.1",
        port,
        path: "/v1/traces",
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        servername: name,
        agent: false,
      },
      (response) => {
        response.resume();
        resolve(response.statusCode === 200 ? "ok" : `${response.statusCode}`);
      },
    );
    request.on("error", (error) => resolve(error.message));
    request.end(body);
  });
}

const trusting: Visit = { ca: servers.certPem };
const certified: Visit = { ...trusting, cert: client.certPem, key: client.keyPem };

describe.each(["grpc", "http"] as const)("otlp receiver with tls over %s", (protocol) => {
  const mutual = () => ({
    cert_pem: server.certPem,
    key_pem: server.keyPem,
    client_ca_file: join(folder, "clients.pem"),
  });

  it.each([
    ["a client that trusts its authority", {}, trusting],
    ["a client that speaks 1.2 when 1.2 is the least", { min_version: "1.2" }, { ...trusting, maxVersion: "TLSv1.2" }],
    ["a client that speaks 1.3 when 1.3 is the least", { min_version: "1.3" }, trusting],
  ] as const)("serves %s", async (_, tls, options) => {
    const { port, sink } = await receiver(protocol, { cert_pem: server.certPem, key_pem: server.keyPem, ...tls });
    expect(await visit(protocol, port, options)).toBe("ok");
    expect(sink.batches).toHaveLength(1);
  });

  it.each([
    ["of an authority that the client does not know", server, { ca: stranger.certPem }, /unable to|self[- ]signed/i],
    ["that has expired", servers.issue({ names: ["localhost"], notAfter: HOUR_AGO }), trusting, /expired/i],
    ["for another name", servers.issue({ names: ["jaeger"] }), trusting, /altname|does not match/i],
  ] as const)("is not trusted with a certificate %s", async (_, { certPem, keyPem }, options, cause) => {
    const { port, sink } = await receiver(protocol, { cert_pem: certPem, key_pem: keyPem });
    expect(await visit(protocol, port, options)).toMatch(cause);
    expect(sink.batches).toEqual([]);
  });

  it("serves a client with a certificate of client_ca_file", async () => {
    const { port, sink } = await receiver(protocol, mutual());
    expect(await visit(protocol, port, certified)).toBe("ok");
    expect(sink.batches).toHaveLength(1);
  });

  const foreign = stranger.issue({ names: ["vllm"] });
  const old = clients.issue({ names: ["vllm"], notAfter: HOUR_AGO });
  it.each([
    ["without a certificate", {}, trusting, /peer did not return a certificate/i],
    [
      "with a stranger's certificate",
      {},
      { ...trusting, cert: foreign.certPem, key: foreign.keyPem },
      /refused: UNABLE_TO_VERIFY/,
    ],
    [
      "with a certificate that has expired",
      {},
      { ...trusting, cert: old.certPem, key: old.keyPem },
      /refused: CERT_HAS_EXPIRED/,
    ],
    [
      "that speaks less than min_version",
      { min_version: "1.3" },
      { ...certified, maxVersion: "TLSv1.2" },
      /unsupported protocol|protocol version/i,
    ],
  ] as const)("turns away a client %s, and says who and why", async (_, tls, options, cause) => {
    const { port, sink, refusals, refusal } = await receiver(protocol, { ...mutual(), ...tls });
    expect(await visit(protocol, port, options)).not.toBe("ok");
    await refusal;
    expect(refusals[0]?.msg).toMatch(/^TLS handshake failed: /);
    expect(refusals[0]?.msg).toMatch(cause);
    expect(refusals[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(sink.batches).toEqual([]);
  });

  it("shows a new certificate and asks for those of a new authority after reload_interval, and stays open", async () => {
    const clock = new FakeClock();
    const client_ca_file = join(folder, `reload-${protocol}.pem`);
    await writeFile(client_ca_file, clients.certPem);
    const served = await files(`reload-${protocol}`, server);
    const { port } = await receiver(protocol, { ...served, client_ca_file, reload_interval: "1m" }, clock);
    expect(await visit(protocol, port, certified)).toBe("ok");
    const next = new Authority("next");
    await files(`reload-${protocol}`, next.issue({ names: ["localhost"] }));
    await writeFile(client_ca_file, next.certPem);
    const renewed = next.issue({ names: ["vllm"] });
    const anew: Visit = { ca: next.certPem, cert: renewed.certPem, key: renewed.keyPem };
    expect(await visit(protocol, port, anew)).not.toBe("ok");
    await clock.advance(60_000);
    // The files are read in the background; each look is another connection.
    while ((await visit(protocol, port, anew)) !== "ok") await clock.advance(0);
    expect(await visit(protocol, port, certified)).not.toBe("ok");
  });
});

/** A server of Node's own, that answers every export with success. */
async function peer(protocol: Protocol, options: https.ServerOptions): Promise<{ port: number; server: Server }> {
  let made: http2.Http2SecureServer | https.Server;
  if (protocol === "grpc") {
    made = http2.createSecureServer(options as http2.SecureServerOptions);
    made.on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.resume().end(Buffer.alloc(5));
    });
    made.on("session", (session) => undo.push(() => session.destroy()));
    made.on("sessionError", () => {});
  } else {
    made = https.createServer(options, (request, response) => {
      request.resume();
      response.end();
    });
  }
  made.on("tlsClientError", () => {});
  made.listen(0, "127.0.0.1");
  await once(made, "listening");
  undo.push(() => made.close());
  return { port: (made.address() as AddressInfo).port, server: made };
}

async function exporterTo(protocol: Protocol, port: number, tls: object, clock = new FakeClock()) {
  const factory = protocol === "grpc" ? otlpGrpcExporterFactory : otlpHttpExporterFactory;
  const endpoint = protocol === "grpc" ? `localhost:${port}` : `https://localhost:${port}`;
  const exporter = factory
    .configure({ endpoint, tls, sending_queue: { enabled: false }, retry_on_failure: { enabled: false } })
    .create(testSettings("out", { clock }));
  await exporter.start(new TestHost());
  undo.push(() => exporter.shutdown(AbortSignal.abort()));
  return (): Promise<ConsumeError | "ok"> =>
    exporter.consumers.traces?.consume(spansNamed("a"), {}).then(
      () => "ok" as const,
      (error: ConsumeError) => error,
    ) ?? expect.fail("no traces");
}

describe.each(["grpc", "http"] as const)("an exporter with tls over %s", (protocol) => {
  const identity = { cert: server.certPem, key: server.keyPem };
  const mutual = { ...identity, ca: clients.certPem, requestCert: true, rejectUnauthorized: true };
  const ca_pem = servers.certPem;
  const own = { cert_pem: client.certPem, key_pem: client.keyPem };

  it.each([
    ["a server of a known authority", identity, { ca_pem }],
    ["a server that asks for its certificate", mutual, { ca_pem, ...own }],
    [
      "a server of another name with server_name_override",
      { ...identityOf("jaeger") },
      { ca_pem, server_name_override: "jaeger" },
    ],
    ["any server with insecure_skip_verify", { ...identityOf("jaeger") }, { insecure_skip_verify: true }],
    ["a server that speaks no more than 1.2", { ...identity, maxVersion: "TLSv1.2" }, { ca_pem }],
    ["a server that speaks no less than 1.3", { ...identity, minVersion: "TLSv1.3" }, { ca_pem, min_version: "1.3" }],
  ] as const)("sends to %s", async (_, options, tls) => {
    const { port } = await peer(protocol, options);
    expect(await (await exporterTo(protocol, port, tls))()).toBe("ok");
  });

  const foreign = stranger.issue({ names: ["vllm"] });
  it.each([
    ["a server of an unknown authority", identity, { ca_pem: stranger.certPem }, /not signed by a known authority/],
    ["an expired certificate", identityOf("localhost", HOUR_AGO), { ca_pem }, /has expired/],
    ["a certificate for another name", identityOf("jaeger"), { ca_pem }, /is for another name/],
    [
      "a server that wants a certificate of its own",
      mutual,
      { ca_pem },
      /refused this side's certificate or its absence/,
    ],
    [
      "a server that does not know its authority",
      mutual,
      { ca_pem, cert_pem: foreign.certPem, key_pem: foreign.keyPem },
      /refused this side's certificate or its absence/,
    ],
    [
      "a server that wants a newer version",
      { ...identity, minVersion: "TLSv1.3" },
      { ca_pem, max_version: "1.2" },
      /no TLS version in common/,
    ],
    [
      "a server that speaks less than min_version",
      { ...identity, maxVersion: "TLSv1.2" },
      { ca_pem, min_version: "1.3" },
      /no TLS version in common/,
    ],
  ] as const)("does not send to %s, and says to whom and why", async (_, options, tls, cause) => {
    const { port } = await peer(protocol, options);
    const failure = await (await exporterTo(protocol, port, tls))();
    if (failure === "ok") return expect.fail("it was sent");
    // An operator may renew what is wrong: the data waits for that.
    expect(failure.disposition).toBe("retryable");
    expect(failure.message).toContain(`localhost:${port}`);
    expect(failure.message).toMatch(cause);
  });

  it("trusts a new authority, and shows a new certificate, after reload_interval", async () => {
    const clock = new FakeClock();
    const ca_file = join(folder, `ca-${protocol}.pem`);
    await writeFile(ca_file, servers.certPem);
    const shown = await files(`own-${protocol}`, client);
    const { port: before } = await peer(protocol, mutual);
    const { port: after } = await peer(protocol, {
      ...identityOf("localhost", undefined, stranger),
      ca: stranger.certPem,
      requestCert: true,
      rejectUnauthorized: true,
    });
    const tls = { ca_file, ...shown, reload_interval: "1m" };
    const send = [
      await exporterTo(protocol, before, tls, clock),
      await exporterTo(protocol, after, tls, clock),
    ] as const;
    expect(await send[0]()).toBe("ok");
    expect(await send[1]()).toMatchObject({ disposition: "retryable" });
    await writeFile(ca_file, stranger.certPem);
    await files(`own-${protocol}`, foreign);
    await clock.advance(60_000);
    expect(await send[1]()).toBe("ok");
  });
});

function identityOf(name: string, notAfter?: number, authority = servers): { cert: string; key: string } {
  const { certPem, keyPem } = authority.issue({ names: [name], ...(notAfter === undefined ? {} : { notAfter }) });
  return { cert: certPem, key: keyPem };
}
