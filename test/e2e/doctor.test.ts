import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Finding } from "../../src/doctor/finding.ts";
import { decodeTraces } from "../../src/pdata/decode.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { type Capture, planReplay, readCapture } from "../kit/captures.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { CLI, Program } from "../kit/process.ts";
import { Shim, type ShimPlaces } from "../kit/shim.ts";

const CAPTURE = readCapture("proxy-vllm/grpc");
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function config({ grpcPort, httpPort, metricsPort, errorLog, accessLog }: ShimPlaces, backend: string): string {
  return `receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:${grpcPort}
      http:
        endpoint: 127.0.0.1:${httpPort}
  omni_proxy_log:
    include: [${errorLog}, ${accessLog}]
connectors:
  request_merge:
    wait: 1s
    clock_skew: annotate
exporters:
  otlp:
    endpoint: ${backend}
    tls:
      insecure: true
service:
  telemetry:
    metrics:
      address: 127.0.0.1:${metricsPort}
  pipelines:
    logs:
      receivers: [omni_proxy_log]
      exporters: [request_merge]
    traces/in:
      receivers: [otlp]
      exporters: [request_merge]
    traces:
      receivers: [request_merge]
      exporters: [otlp]
`;
}

/** A shim that has sent the traces of the whole capture, its spans changed by `change`. */
async function shimAfter(change: (bytes: Buffer) => Buffer): Promise<Shim> {
  const sink = await OtlpSink.start();
  closing.push(() => sink.close());
  const shim = await Shim.start((places) => config(places, sink.address));
  closing.push(() => shim.stop());
  const payloads = CAPTURE.payloads.map((payload) => ({ ...payload, bytes: change(payload.bytes) }));
  const changed: Capture = { ...CAPTURE, payloads };
  await shim.replay(planReplay(changed, { access: true }));
  const wanted = CAPTURE.manifest.length;
  await sink.until(`${wanted} requests are sent`, ({ accepted }) => {
    const spans = accepted.flatMap(({ bytes }) => decodeTraces(bytes).flatMap(({ scopeSpans }) => scopeSpans));
    return spans.flatMap((scope) => scope.spans).filter(({ name }) => name === "Trace for Omni Proxy").length >= wanted;
  });
  return shim;
}

/** `omnishim doctor --json` on the shim's own file. */
async function doctorOf(shim: Shim): Promise<{ code: number | undefined; findings: Finding[] }> {
  const file = join(dirname(shim.places.errorLog), "otel.yml");
  return finished(Program.cli(["doctor", "--config", file, "--json"]));
}

async function finished(program: Program): Promise<{ code: number | undefined; findings: Finding[] }> {
  closing.push(() => program.stop());
  const { code } = await program.exit();
  const { ok, findings } = JSON.parse(program.output) as { ok: boolean; findings: Finding[] };
  expect(ok).toBe(code === 0);
  return { code, findings };
}

/** What is not as it should be: `check`, and the line of the file. */
function wrong(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ severity }) => severity !== "ok")
    .map(({ check, place }) => `${check}${place ? `: ${place.text}` : ""}`);
}

describe("omnishim doctor", () => {
  it("doctor finds nothing beside a running omnishim when all is well", async () => {
    const shim = await shimAfter((bytes) => bytes);
    const { code, findings } = await doctorOf(shim);
    expect(wrong(findings)).toEqual([]);
    expect(code).toBe(0);
    const said = findings.map(({ found }) => found).join("\n");
    expect(said).toContain(
      `127.0.0.1:${shim.places.grpcPort} is held by the omnishim that runs (pid ${shim.program.pid})`,
    );
    expect(said).toContain(`omnishim (pid ${shim.program.pid}) may have`);
    expect(said).toMatch(/\d+ of \d+ \(\d+ %\) requests since its start have a decode span/);
    expect(said).toMatch(/the clocks of \d+ vLLM instances agree/);
  });

  it("doctor finds request ids that never join when vLLM's spans have others than the log", async () => {
    const other = (digit: string): string => ((Number.parseInt(digit, 16) + 1) % 16).toString(16);
    const shim = await shimAfter((bytes) =>
      Buffer.from(
        // Ids are ASCII inside of protobuf strings, so a text of the same length keeps the message whole.
        bytes
          .toString("latin1")
          .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => id.replaceAll(/[0-9a-f]/g, other)),
        "latin1",
      ),
    );
    const { code, findings } = await doctorOf(shim);
    expect(wrong(findings)).toEqual(["request-ids: request_merge:"]);
    expect(code).toBe(1);
    const found = findings.find(({ check, severity }) => check === "request-ids" && severity === "error");
    expect(found?.found).toMatch(/unknown_request: \d+/);
    expect(found?.change).toContain("set_request_id on");
  });

  it("doctor finds a host clock that is one second off when vLLM's spans are a second ahead", async () => {
    const shim = await shimAfter((bytes) =>
      encodeTraces(
        decodeTraces(bytes).map((resource) => ({
          ...resource,
          scopeSpans: resource.scopeSpans.map((scope) => ({
            ...scope,
            spans: scope.spans.map((span) => ({
              ...span,
              startUnixNano: span.startUnixNano + 1_000_000_000n,
              endUnixNano: span.endUnixNano + 1_000_000_000n,
            })),
          })),
        })),
      ),
    );
    const { code, findings } = await doctorOf(shim);
    expect(wrong(findings)).toEqual(["clock: clock_skew: annotate"]);
    expect(code).toBe(1);
    expect(findings.find(({ check }) => check === "clock")?.found).toMatch(/by (?:1|1\.0\d|0\.9\d\d?) s/);
  });

  it("doctor finds a file-descriptor limit of 256 when the shell has set it", async () => {
    const command = `ulimit -n 256 && exec "${process.execPath}" "${CLI}" doctor --json`;
    const { code, findings } = await finished(new Program("/bin/sh", ["-c", command]));
    expect(code).toBe(1);
    const found = findings.find(({ check }) => check === "open-files");
    expect(found).toMatchObject({
      severity: "error",
      found: "a program started from here may have 256 files and connections open",
    });
    expect(found?.change).toContain("LimitNOFILE=65536");
  });

  it("doctor finds what is wrong in the file when it cannot be run", async () => {
    const yaml = "yaml:receivers: {otlp: {protocols: {grcp: {}}}}";
    const { code, findings } = await finished(Program.cli(["doctor", "--config", yaml, "--json"]));
    expect(code).toBe(1);
    expect(findings.every(({ check }) => check === "configuration")).toBe(true);
    expect(findings.map(({ key }) => key)).toContain("receivers::otlp::protocols::grcp");
  });
});
