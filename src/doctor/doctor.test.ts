import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { Authority } from "../../test/kit/certificates.ts";
import { actions, type DoctorOptions, doctor } from "../../test/kit/doctor.ts";
import { OtlpSink } from "../../test/kit/otlp-sink.ts";
import { freePorts } from "../../test/kit/process.ts";
import { type FileAccess, nodeFiles } from "../receivers/omniproxylog/files.ts";
import type { Finding } from "./finding.ts";

const INFO = readCapture("proxy-mock/seq-basic");
const NOTICE = readCapture("proxy-mock/seq-loglevel-notice");

let folder: string;
let ports: number[];
let sink: OtlpSink;
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "omnishim-doctor-"));
  ports = await freePorts(4);
  sink = await OtlpSink.start();
  write("error.log", INFO.errorLog);
  write("access.log", INFO.accessLog);
});

afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
  await sink.close();
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, content: string | Buffer): void {
  writeFileSync(join(folder, name), content);
}

/** A set-up without a fault; a test changes one thing. */
function config(change: { exporter?: string; grpc?: string; http?: string } = {}): string {
  const {
    exporter = `  otlp_grpc:
    endpoint: ${sink.address}
    tls:
      insecure: true`,
    grpc = `127.0.0.1:${ports[0]}`,
    http = `127.0.0.1:${ports[1]}`,
  } = change;
  return `receivers:
  otlp:
    protocols:
      grpc:
        endpoint: ${grpc}
      http:
        endpoint: ${http}
  omni_proxy_log:
    include:
      - ${folder}/error.log
      - ${folder}/access.log
connectors:
  request_merge:
extensions:
  file_storage:
    directory: ${folder}/queue
    max_size_mib: 1
exporters:
${exporter}
service:
  extensions: [file_storage]
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                host: 127.0.0.1
                port: ${ports[2]}
  pipelines:
    logs:
      receivers: [omni_proxy_log]
      exporters: [request_merge]
    traces/in:
      receivers: [otlp]
      exporters: [request_merge]
    traces:
      receivers: [request_merge]
      exporters: [${/^ {2}(\w+):/.exec(exporter)?.[1]}]
`;
}

/** The line of `text` in the configuration. */
function lineOf(yaml: string, text: string): number {
  return yaml.split("\n").findIndex((line) => line.includes(text)) + 1;
}

async function only(yaml: string, check: Finding["check"], at: string, options: DoctorOptions = {}): Promise<Finding> {
  const findings = await doctor(yaml, options);
  expect(actions(findings)).toEqual([`${check} line ${lineOf(yaml, at)}`]);
  return findings.find((finding) => finding.check === check && finding.place) as Finding;
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** An OTLP/HTTP backend. */
const otlpHttp: RequestListener = (request, response) => {
  request.resume().on("end", () => response.setHeader("content-type", "application/x-protobuf").end());
};

function httpExporter(url: string): string {
  return `  otlp_http:\n    endpoint: ${url}`;
}

describe("doctor", () => {
  it("doctor finds nothing when all is well, over gRPC", async () => {
    const findings = await doctor(config(), { vllm: ["127.0.0.1"] });
    expect(findings.filter(({ severity }) => severity !== "ok")).toEqual([]);
    expect(sink.accepted.map(({ signal }) => signal)).toEqual(["traces"]);
    expect(new Set(findings.map(({ check }) => check))).toEqual(
      new Set([
        "node-version",
        "open-files",
        "port-taken",
        "bind-address",
        "log",
        "request-ids",
        "backend",
        "queue-disk",
      ]),
    );
  });

  it("doctor finds nothing when all is well, over HTTP with TLS and a certificate of one's own", async () => {
    const authority = new Authority();
    const { certPem, keyPem } = authority.issue({ names: ["localhost", "127.0.0.1"] });
    write("ca.pem", authority.certPem);
    const port = await listening(createHttpsServer({ cert: certPem, key: keyPem }, otlpHttp));
    const yaml = config({
      exporter: `${httpExporter(`https://localhost:${port}`)}\n    tls:\n      ca_file: ${folder}/ca.pem`,
    });
    const findings = await doctor(yaml);
    // The test's authority ends within the hour.
    expect(actions(findings)).toEqual([`tls-certificate line ${lineOf(yaml, "ca_file")}`]);
    expect(findings.filter(({ check }) => check === "backend").map(({ severity }) => severity)).toEqual(["ok"]);
  });

  it("doctor finds a port taken, with the process that holds it, when something else listens there", async () => {
    const port = await listening(createTcpServer());
    const yaml = config({ grpc: `127.0.0.1:${port}` });
    const found = await only(yaml, "port-taken", `endpoint: 127.0.0.1:${port}`);
    expect(found.found).toContain(`pid ${process.pid} (`);
    expect(found.change).toContain("receivers::otlp::protocols::grpc::endpoint: localhost:");
  });

  it("doctor finds the localhost bind when vLLM is remote by --vllm", async () => {
    const yaml = config({ http: `0.0.0.0:${ports[1]}` });
    const found = await only(yaml, "bind-address", `endpoint: 127.0.0.1:${ports[0]}`, { vllm: ["192.0.2.7"] });
    expect(found).toMatchObject({ severity: "warning", key: "receivers::otlp::protocols::grpc::endpoint" });
    expect(found.change).toContain(`0.0.0.0:${ports[0]}`);
  });

  it("doctor finds the localhost bind when the proxy's log has upstreams on another host", async () => {
    write(
      "access.log",
      INFO.accessLog.toString("latin1").replaceAll(/upstream_addr:"[\d.]+:/g, 'upstream_addr:"192.0.2.9:'),
    );
    const yaml = config();
    const findings = await doctor(yaml);
    expect(actions(findings)).toEqual([
      `bind-address line ${lineOf(yaml, `127.0.0.1:${ports[0]}`)}`,
      `bind-address line ${lineOf(yaml, `127.0.0.1:${ports[1]}`)}`,
    ]);
    expect(findings.find(({ check }) => check === "bind-address")).toMatchObject({ severity: "error" });
  });

  it("doctor finds TLS to a plain port when the exporter lacks insecure", async () => {
    const yaml = config({ exporter: `  otlp_grpc:\n    endpoint: ${sink.address}` });
    const found = await only(yaml, "tls-to-plain", "  otlp_grpc:");
    expect(found.change).toBe("exporters::otlp_grpc::tls::insecure: true");
  });

  it("doctor finds TLS to a plain port when an HTTP exporter has https", async () => {
    const port = await listening(createHttpServer(otlpHttp));
    const yaml = config({ exporter: httpExporter(`https://127.0.0.1:${port}`) });
    const found = await only(yaml, "tls-to-plain", "endpoint: https:");
    expect(found.change).toBe(`exporters::otlp_http::endpoint: http://127.0.0.1:${port}`);
  });

  it("doctor finds plain to TLS when the backend has TLS, over gRPC", async () => {
    const { certPem, keyPem } = new Authority().issue({ names: ["127.0.0.1"] });
    const port = await listening(
      createTlsServer({ cert: certPem, key: keyPem, ALPNProtocols: ["h2"] }, (socket) => socket.resume()),
    );
    const yaml = config({ exporter: `  otlp_grpc:\n    endpoint: 127.0.0.1:${port}\n    tls:\n      insecure: true` });
    const found = await only(yaml, "plain-to-tls", "insecure: true");
    expect(found.change).toContain("exporters::otlp_grpc::tls::insecure: false");
  });

  it("doctor finds plain to TLS when the backend has TLS, over HTTP", async () => {
    const { certPem, keyPem } = new Authority().issue({ names: ["127.0.0.1"] });
    const port = await listening(createHttpsServer({ cert: certPem, key: keyPem }, otlpHttp));
    const yaml = config({ exporter: httpExporter(`http://127.0.0.1:${port}`) });
    const found = await only(yaml, "plain-to-tls", `endpoint: http://127.0.0.1:${port}`);
    expect(found.change).toBe(`exporters::otlp_http::endpoint: https://127.0.0.1:${port}`);
  });

  it("doctor finds a certificate that is not trusted when the backend has one of its own", async () => {
    const { certPem, keyPem } = new Authority().issue({ names: ["localhost"] });
    const port = await listening(createHttpsServer({ cert: certPem, key: keyPem }, otlpHttp));
    const yaml = config({ exporter: httpExporter(`https://localhost:${port}`) });
    const found = await only(yaml, "tls-certificate", "  otlp_http:");
    expect(found.change).toContain("exporters::otlp_http::tls::ca_file");
  });

  it("doctor finds gRPC to 4318 when the exporter points at an HTTP port", async () => {
    const port = await listening(createHttpServer(otlpHttp));
    const yaml = config({ exporter: `  otlp_grpc:\n    endpoint: 127.0.0.1:${port}\n    tls:\n      insecure: true` });
    const found = await only(yaml, "grpc-to-http", `endpoint: 127.0.0.1:${port}`);
    expect(found.change).toContain("exporters::otlp_grpc::endpoint: 127.0.0.1:4317");
  });

  it("doctor finds HTTP to 4317 when the exporter points at a gRPC port", async () => {
    const yaml = config({ exporter: httpExporter(`http://${sink.address}`) });
    const found = await only(yaml, "http-to-grpc", `endpoint: http://${sink.address}`);
    expect(found.change).toContain("exporters::otlp_http::endpoint: http://127.0.0.1:4318");
  });

  it("doctor finds Jaeger down when nothing listens there", async () => {
    const yaml = config({
      exporter: `  otlp_grpc:\n    endpoint: 127.0.0.1:${ports[3]}\n    tls:\n      insecure: true`,
    });
    await only(yaml, "jaeger-down", `endpoint: 127.0.0.1:${ports[3]}`);
  });

  it("doctor finds Jaeger without OTLP when its other ports answer and the OTLP port does not", async () => {
    const admin = await listening(createHttpServer());
    const yaml = config({
      exporter: `  otlp_grpc:\n    endpoint: 127.0.0.1:${ports[3]}\n    tls:\n      insecure: true`,
    });
    const found = await only(yaml, "jaeger-without-otlp", `endpoint: 127.0.0.1:${ports[3]}`, {
      machine: { jaegerPorts: [admin] },
    });
    expect(found.change).toContain("COLLECTOR_OTLP_ENABLED=true");
  });

  it("doctor finds Jaeger without OTLP when the exporter points at its user interface", async () => {
    const port = await listening(
      createHttpServer((request, response) => {
        request
          .resume()
          .on("end", () => response.setHeader("content-type", "text/html; charset=utf-8").end("<!doctype html>"));
      }),
    );
    const yaml = config({ exporter: httpExporter(`http://127.0.0.1:${port}`) });
    await only(yaml, "jaeger-without-otlp", `endpoint: http://127.0.0.1:${port}`);
  });

  it("doctor finds a trace that is not in Jaeger when the exporter leads to another one", async () => {
    const asked: string[] = [];
    const hasTrace = async (_: string, traceId: string): Promise<boolean> => {
      asked.push(traceId);
      return false;
    };
    const options = { queryUrl: "http://127.0.0.1:1", hasTrace, timeoutMs: 300 };
    const found = await only(config(), "trace-not-found", `endpoint: ${sink.address}`, options);
    expect(found.found).toContain(asked[0]);
  });

  it("doctor finds that Jaeger cannot be asked when --jaeger-query leads nowhere", async () => {
    const hasTrace = (): Promise<boolean> => Promise.reject(new Error("nobody there"));
    const found = await only(config(), "trace-not-found", `endpoint: ${sink.address}`, {
      queryUrl: "http://127.0.0.1:1",
      hasTrace,
    });
    expect(found).toMatchObject({ severity: "warning", change: "--jaeger-query http://HOST:16686" });
  });

  it("doctor finds the log missing when it does not exist", async () => {
    rmSync(join(folder, "error.log"));
    const yaml = config();
    await only(yaml, "log-missing", "/error.log");
  });

  it("doctor finds the log unreadable when its permissions are not for this user", async () => {
    chmodSync(join(folder, "error.log"), 0);
    const yaml = config();
    const found = await only(yaml, "log-unreadable", "/error.log", { machine: { files: withoutRights } });
    expect(found.found).toContain("EACCES");
  });

  it("doctor finds the log at level notice when the proxy runs with its default", async () => {
    write("error.log", NOTICE.errorLog);
    write("access.log", NOTICE.accessLog);
    const found = await only(config(), "log-level", "/error.log");
    expect(found.change).toContain("omni_proxy.sh --log-level info");
  });

  it("doctor says only that the level cannot be told when a log is empty", async () => {
    write("error.log", "2026/11/22 04:32:49 [notice] 10422#0: signal 10 (SIGUSR1) received from 1, reopening logs\n");
    const findings = await doctor(config());
    expect(
      findings.filter(({ severity }) => severity !== "ok").map(({ check, severity }) => `${severity} ${check}`),
    ).toEqual(["note log-level"]);
  });

  it("doctor finds request ids that never join when the log's requests have none", async () => {
    const blank = (text: string): string =>
      text.replaceAll(/request_id:"[^"]*"/g, 'request_id:"-"').replaceAll(/; RequestID:[^,]*,/g, "; RequestID:,");
    write("error.log", blank(INFO.errorLog.toString("latin1")));
    write("access.log", blank(INFO.accessLog.toString("latin1")));
    const yaml = config();
    const findings = await doctor(yaml);
    expect(actions(findings)).toEqual([
      `request-ids line ${lineOf(yaml, "/error.log")}`,
      `request-ids line ${lineOf(yaml, "/access.log")}`,
    ]);
    expect(findings.find(({ check }) => check === "request-ids")?.change).toContain("set_request_id on");
  });

  it.each([
    ["no byte is free", { freeBytes: 0, freeInodes: 1_000_000 }],
    ["no inode is free", { freeBytes: 1e12, freeInodes: 0 }],
  ])("doctor finds the queue's disk full when %s", async (_, space) => {
    const yaml = config();
    await only(yaml, "queue-disk", "directory:", { machine: { disk: { space: async () => space } } });
  });

  it("doctor finds a certificate file that cannot be read", async () => {
    const yaml = config({
      exporter: `  otlp_http:\n    endpoint: http://127.0.0.1:1\n    tls:\n      ca_file: ${folder}/none.pem`,
    });
    expect(actions(await doctor(yaml))).toContain(`tls-certificate line ${lineOf(yaml, "none.pem")}`);
  });
});

/** What open(2) says to a user without rights; root has all of them. */
const withoutRights: FileAccess = {
  ...nodeFiles,
  async open(path) {
    if (!path.endsWith("/error.log")) return nodeFiles.open(path);
    throw Object.assign(new Error(`EACCES: permission denied, open '${path}'`), { code: "EACCES" });
  },
};
