import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import * as http2 from "node:http2";
import * as https from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Authority } from "../../test/kit/certificates.ts";
import { FakeClock } from "../../test/kit/clock.ts";
import { decodeSection, section } from "../config/schema.ts";
import { type Clock, systemClock } from "../telemetry/clock.ts";
import { type LogFields, type Logger, silentLogger } from "../telemetry/logger.ts";
import { grpcServerOptions, grpcServerShape } from "./grpc/config.ts";
import { GrpcServer } from "./grpc/server.ts";
import { httpServerOptions, httpServerShape } from "./http/config.ts";
import { HttpServer } from "./http/server.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0).reverse()) await act();
});

let folder = "";
const authority = new Authority();
const { certPem, keyPem } = authority.issue({ names: ["localhost", "127.0.0.1"] });
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tls-server-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Started {
  readonly port: number;
  readonly lines: string[];
}

interface Around {
  readonly clock?: Clock;
}

function recording(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const write = (message: string, fields?: LogFields): unknown => lines.push(`${message} ${JSON.stringify(fields)}`);
  return {
    logger: {
      ...silentLogger,
      warn: write,
      error: (message, fields) => write(message, { error: String(fields?.["error"]) }),
    } as Logger,
    lines,
  };
}

async function startGrpc(tls: object, { clock = systemClock }: Around = {}): Promise<Started> {
  const { config } = decodeSection(section(grpcServerShape(4317)), { endpoint: "127.0.0.1:0", tls });
  const { logger, lines } = recording();
  const server = new GrpcServer({
    ...grpcServerOptions(config),
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    key: "endpoint",
    methods: new Map([["/pkg.Echo/Echo", { handle: (message: Uint8Array) => message }]]),
    httpHint: () => "OTLP/HTTP is on localhost:4318",
    clock,
    logger,
  });
  undo.push(() => server.close(AbortSignal.abort()));
  return { port: (await server.listen()).port, lines };
}

async function startHttp(tls: object): Promise<Started> {
  const { config } = decodeSection(section(httpServerShape(4318)), { endpoint: "127.0.0.1:0", tls });
  const { logger, lines } = recording();
  const server = new HttpServer({
    ...httpServerOptions(config),
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    key: "endpoint",
    handle: (exchange) => {
      void exchange.readBody().then((body) => exchange.respond(200, "text/plain", body));
    },
    grpcHint: () => "OTLP/gRPC is on localhost:4317",
    clock: systemClock,
    logger,
  });
  undo.push(() => server.close(AbortSignal.abort()));
  return { port: (await server.listen()).port, lines };
}

function echo(port: number, ssl: ReturnType<typeof credentials.createSsl>): Promise<string> {
  const client = new Client(`127.0.0.1:${port}`, ssl, { "grpc.ssl_target_name_override": "localhost" });
  undo.push(() => client.close());
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest("/pkg.Echo/Echo", same, same, Buffer.from("hi"), (error: ServiceError | null, value) =>
      resolve(error ? `${error.code}` : String(value)),
    );
  });
}

/** The certificate that the server shows. */
async function shown(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    ca: authority.certPem,
    ALPNProtocols: ["h2"],
    ...options,
  });
  undo.push(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

const failure = (tls: object): string => {
  try {
    decodeSection(section(grpcServerShape(4317)), { tls });
  } catch (error) {
    return (error as Error).message;
  }
  return "";
};

describe("tlsServerSection", () => {
  it.each([
    [{}, "tls: TLS configuration must include both certificate and key for server connections"],
    [{ cert_file: "c" }, "tls::cert_file: TLS configuration must include both certificate and key"],
    [{ cert_file: "c", cert_pem: "d", key_file: "k" }, "tls::cert_pem: provide either certificate file or PEM"],
    [{ cert_file: "c", key_file: "k", min_version: "1.3", max_version: "1.2" }, "tls::min_version: "],
    [{ cert_file: "c", key_file: "k", curve_preferences: ["P1"] }, 'invalid curve type: "P1"'],
    [{ cert_file: "c", key_file: "k", tpm: { enabled: true } }, "tls::tpm: tpm is not supported"],
    [{ cert_file: "c", key_file: "k", clent_ca_file: "x" }, "did you mean `client_ca_file`?"],
  ])("refuses %j", (tls, message) => {
    expect(failure(tls)).toContain(message);
  });

  it("leaves TLS off when the key is absent", () => {
    expect(decodeSection(section(grpcServerShape(4317)), {}).config.tls).toBeUndefined();
  });
});

describe("a server with tls", () => {
  it("serves gRPC to a client that trusts its authority, and to no other", async () => {
    const { port } = await startGrpc({ cert_pem: certPem, key_pem: keyPem });
    expect(await echo(port, credentials.createSsl(Buffer.from(authority.certPem)))).toBe("hi");
    expect(await echo(port, credentials.createSsl(Buffer.from(new Authority("other").certPem)))).toBe("14");
  });

  it("serves HTTP", async () => {
    const { port } = await startHttp({ cert_pem: certPem, key_pem: keyPem });
    const request = https.request({
      host: "127.0.0.1",
      port,
      method: "POST",
      ca: authority.certPem,
      servername: "localhost",
      agent: false,
    });
    request.end("hi");
    const [response] = await once(request, "response");
    expect(String((await once(response, "data"))[0])).toBe("hi");
  });

  it("asks for a client certificate when client_ca_file is set", async () => {
    const clients = new Authority("clients");
    const file = join(folder, "clients.pem");
    await writeFile(file, clients.certPem);
    const { port } = await startGrpc({ cert_pem: certPem, key_pem: keyPem, client_ca_file: file });
    const good = clients.issue({ names: ["vllm"] });
    const ca = Buffer.from(authority.certPem);
    expect(await echo(port, credentials.createSsl(ca, Buffer.from(good.keyPem), Buffer.from(good.certPem)))).toBe("hi");
    expect(await echo(port, credentials.createSsl(ca))).toBe("14");
    const bad = authority.issue({ names: ["vllm"] });
    expect(await echo(port, credentials.createSsl(ca, Buffer.from(bad.keyPem), Buffer.from(bad.certPem)))).toBe("14");
  });

  it("keeps min_version, max_version and cipher_suites", async () => {
    const { port } = await startGrpc({
      cert_pem: certPem,
      key_pem: keyPem,
      max_version: "1.2",
      cipher_suites: ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
      curve_preferences: ["P256", "X25519MLKEM768"],
    });
    const socket = await shown(port);
    expect([socket.getProtocol(), socket.getCipher().name]).toEqual(["TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"]);
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: "prime256v1" });
    const { port: newest } = await startGrpc({ cert_pem: certPem, key_pem: keyPem, min_version: "1.3" });
    await expect(shown(newest, { maxVersion: "TLSv1.2" })).rejects.toThrow();
  });

  it("names setting and file when a file cannot be used", async () => {
    const missing = join(folder, "missing.pem");
    await expect(startGrpc({ cert_file: missing, key_pem: keyPem })).rejects.toThrow(`tls::cert_file: ENOENT`);
    const other = authority.issue({ names: ["x"] });
    await expect(startGrpc({ cert_pem: certPem, key_pem: other.keyPem })).rejects.toThrow(
      /failed to load TLS config: .*check tls::cert_file/,
    );
  });

  it("shows a new certificate after reload_interval, and keeps the old one while the file is broken", async () => {
    const clock = new FakeClock();
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    const first = authority.issue({ names: ["first", "localhost"] });
    await writeFile(cert, first.certPem);
    await writeFile(key, first.keyPem);
    const { port, lines } = await startGrpc({ cert_file: cert, key_file: key, reload_interval: "1m" }, { clock });
    const name = async (): Promise<unknown> => (await shown(port)).getPeerCertificate().subject.CN;
    expect(await name()).toBe("first");
    await writeFile(cert, "gone");
    await clock.advance(60_000);
    while (lines.length === 0) await clock.advance(0);
    expect(lines[0]).toContain("certificates could not be read again");
    expect(await name()).toBe("first");
    const second = authority.issue({ names: ["second", "localhost"] });
    await writeFile(cert, second.certPem);
    await writeFile(key, second.keyPem);
    await clock.advance(60_000);
    while ((await name()) !== "second") await clock.advance(1000);
  });

  it("answers plain HTTP/1 at both doors, and turns plain gRPC away", async () => {
    const grpc = await startGrpc({ cert_pem: certPem, key_pem: keyPem });
    const http = await startHttp({ cert_pem: certPem, key_pem: keyPem });
    const text = async (port: number): Promise<string> => {
      const socket = connectTcp(port, "127.0.0.1").on("error", () => {});
      socket.write("GET / HTTP/1.1\r\n\r\n");
      return String((await once(socket, "data"))[0]);
    };
    expect(await text(grpc.port)).toContain("it speaks HTTP/2 with TLS");
    expect(await text(http.port)).toContain("Client sent an HTTP request to an HTTPS server.");
    const session = http2.connect(`http://127.0.0.1:${grpc.port}`).on("error", () => {});
    await new Promise((resolve) => session.once("close", resolve));
    expect(grpc.lines.at(-1)).toContain("a client spoke plain text to the TLS OTLP/gRPC port");
  });
});
