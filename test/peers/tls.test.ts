import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { Authority, type Certificate } from "../kit/certificates.ts";
import { Program } from "../kit/process.ts";
import { Shim } from "../kit/shim.ts";
import { Jaeger } from "./jaeger.ts";

const peers = inject("peers");
const python = peers["python"]?.path;
const jaegerPath = peers["jaeger-v2"]?.path;

let folder = "";
const authority = new Authority();
const stranger = new Authority("a stranger");
const path = (name: string): string => join(folder, name);

function write(name: string, { certPem, keyPem }: Certificate): void {
  writeFileSync(path(`${name}.crt`), certPem);
  writeFileSync(path(`${name}.key`), keyPem);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "omnishim-tls-"));
  writeFileSync(path("ca.crt"), authority.certPem);
  writeFileSync(path("stranger.crt"), stranger.certPem);
  write("server", authority.issue({ names: ["localhost", "127.0.0.1"] }));
  write("vllm", authority.issue({ names: ["vllm"] }));
  write("shim", authority.issue({ names: ["shim"] }));
  const span = {
    name: "llm_request",
    scope: "vllm",
    resource: { "service.name": "vllm" },
    trace_id: "1".repeat(32),
    span_id: "2".repeat(16),
    parent_span_id: "",
    start: "1763800000000000000",
    end: "1763800001000000000",
    attributes: {},
  };
  writeFileSync(path("spans.json"), JSON.stringify([span]));
  write("nobody", stranger.issue({ names: ["nobody"] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const open: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop();
});

/** A server that takes nobody without a certificate of our authority. */
const mutual = (): string =>
  JSON.stringify({ cert_file: path("server.crt"), key_file: path("server.key"), client_ca_file: path("ca.crt") });

/** What a client trusts and shows. */
interface Identity {
  readonly ca: string;
  /** Absent: it shows none. */
  readonly own?: string;
}

const clientTls = ({ ca, own }: Identity): string =>
  JSON.stringify({
    ca_file: path(ca),
    ...(own === undefined ? {} : { cert_file: path(`${own}.crt`), key_file: path(`${own}.key`) }),
  });

/** Python -> TLS -> shim -> TLS -> the exporter's peer. */
async function shimTo(exporter: string): Promise<Shim> {
  const shim = await Shim.start(
    ({ grpcPort, httpPort }) => `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${grpcPort}", tls: ${mutual()}}
      http: {endpoint: "127.0.0.1:${httpPort}", tls: ${mutual()}}
exporters: {${exporter}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [${exporter.slice(0, exporter.indexOf(":"))}]}}
`,
  );
  open.push(shim);
  return shim;
}

/** Sends one span by the Python SDK. */
async function byPython(shim: Shim, protocol: "grpc" | "http", { ca, own }: Identity): Promise<Program> {
  const { grpcPort, httpPort } = shim.places;
  const endpoint = protocol === "grpc" ? `https://localhost:${grpcPort}` : `https://localhost:${httpPort}/v1/traces`;
  const script = new URL("senders.py", import.meta.url).pathname;
  const sender = new Program(python ?? "", [script, "spans", protocol, endpoint], {
    env: {
      SPANS_FILE: path("spans.json"),
      // `requests` lets these win over what the exporter was told to trust.
      REQUESTS_CA_BUNDLE: "",
      CURL_CA_BUNDLE: "",
      OTEL_EXPORTER_OTLP_CERTIFICATE: path(ca),
      ...(own === undefined
        ? {}
        : {
            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: path(`${own}.crt`),
            OTEL_EXPORTER_OTLP_CLIENT_KEY: path(`${own}.key`),
          }),
    },
  });
  open.push(sender);
  await sender.exit(60_000);
  return sender;
}

describe.skipIf(python === undefined || jaegerPath === undefined)("the Python exporter and Jaeger v2 with TLS", () => {
  it.each(["grpc", "http"] as const)(
    "over %s: spans go through both, each side with a certificate",
    async (protocol) => {
      const jaeger = await Jaeger.start("v2", jaegerPath ?? "", mutual());
      open.push(jaeger);
      const tls = clientTls({ ca: "ca.crt", own: "shim" });
      const shim = await shimTo(
        protocol === "grpc"
          ? `otlp_grpc: {endpoint: "${jaeger.grpc}", tls: ${tls}}`
          : `otlp_http: {endpoint: "https://${jaeger.http}", tls: ${tls}}`,
      );
      const sender = await byPython(shim, protocol, { ca: "ca.crt", own: "vllm" });
      expect(sender.ended, sender.output).toEqual({ code: 0, signal: undefined });
      const trace = await jaeger.until(
        () => jaeger.trace("1".repeat(32)),
        (found) => found?.spans.length === 1,
      );
      expect(trace?.spans.map(({ operationName }) => operationName).sort()).toEqual(["llm_request"]);
      expect(await shim.stop(), shim.program.output).toEqual({ code: 0, signal: undefined });
    },
  );

  it.each([
    [
      "grpc",
      "shows no certificate",
      { ca: "ca.crt" },
      /TLS handshake failed: .*peer did not return a certificate.*127\.0\.0\.1:\d+/s,
    ],
    [
      "http",
      "shows no certificate",
      { ca: "ca.crt" },
      /TLS handshake failed: .*peer did not return a certificate.*127\.0\.0\.1:\d+/s,
    ],
    [
      "grpc",
      "shows a stranger's",
      { ca: "ca.crt", own: "nobody" },
      /certificate is refused: UNABLE_TO_VERIFY.*127\.0\.0\.1:\d+/s,
    ],
    [
      "http",
      "shows a stranger's",
      { ca: "ca.crt", own: "nobody" },
      /certificate is refused: UNABLE_TO_VERIFY.*127\.0\.0\.1:\d+/s,
    ],
    [
      "http",
      "does not know our authority",
      { ca: "stranger.crt", own: "vllm" },
      /TLS handshake failed: .*unknown ca.*127\.0\.0\.1:\d+/s,
    ],
  ] as const)(
    "over %s: a Python exporter that %s is told no, and we say who and why",
    async (protocol, _, identity, said) => {
      const shim = await shimTo("nop: {}");
      const sender = await byPython(shim, protocol, identity);
      expect(sender.ended?.code).toBe(1);
      await shim.program.line(said);
    },
  );

  it.each([
    ["grpc", "trusts another authority", { ca: "stranger.crt", own: "shim" }, /not signed by a known authority/],
    ["http", "trusts another authority", { ca: "stranger.crt", own: "shim" }, /not signed by a known authority/],
    ["grpc", "shows Jaeger no certificate", { ca: "ca.crt" }, /refused this side's certificate or its absence/],
    ["http", "shows Jaeger no certificate", { ca: "ca.crt" }, /refused this side's certificate or its absence/],
    [
      "grpc",
      "shows Jaeger a stranger's",
      { ca: "ca.crt", own: "nobody" },
      /refused this side's certificate or its absence/,
    ],
    [
      "http",
      "shows Jaeger a stranger's",
      { ca: "ca.crt", own: "nobody" },
      /refused this side's certificate or its absence/,
    ],
  ] as const)(
    "over %s: an exporter that %s says which peer it is and what to change",
    async (protocol, _, identity, said) => {
      const jaeger = await Jaeger.start("v2", jaegerPath ?? "", mutual());
      open.push(jaeger);
      const tls = clientTls(identity);
      const shim = await shimTo(
        protocol === "grpc"
          ? `otlp_grpc: {endpoint: "${jaeger.grpc}", tls: ${tls}}`
          : `otlp_http: {endpoint: "https://${jaeger.http}", tls: ${tls}}`,
      );
      const sender = await byPython(shim, protocol, { ca: "ca.crt", own: "vllm" });
      expect(sender.ended, sender.output).toEqual({ code: 0, signal: undefined });
      const [line] = await shim.program.line(/Exporting failed\. Will retry.*/);
      expect(line).toContain(protocol === "grpc" ? jaeger.grpc : jaeger.http);
      expect(line).toMatch(said);
    },
  );
});
