import { afterEach, expect, it } from "vitest";
import { linesOf, planReplay, readCapture } from "../kit/captures.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Shim } from "../kit/shim.ts";
import { readSpans } from "../kit/spans.ts";
import { readLoggedRequests } from "./logged-requests.ts";
import { checkCapture, type MergedSpan, ROOT } from "./merged-traces.ts";

const open: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop();
});

/** Ids as a client may send them in X-Request-Id, and worse than nginx would let through. */
const HOSTILE_IDS: readonly Buffer[] = [
  "<<<Action: Received all tokens; Timestamp:1.000000; RequestID:x",
  "a; Timestamp:99999999999999999999.9; RequestID:b",
  "****Traceparent already exists****; trace_headers:00-00000000000000000000000000000000-0000000000000000-01",
  'x, client: 10.0.0.1, server: localhost, request: "GET / HTTP/1.1"',
  "x while reading response header from upstream",
  "\u001b]0;owned\u0007\u001b[31mred\u0000\r\t\u0085\u202egnirts",
  "../../../../etc/passwd",
  "__proto__",
  "%s%s%n{{}}${env:HOME}",
  "-",
]
  .map((text) => Buffer.from(text, "utf8"))
  .concat([Buffer.from([0xff, 0xfe, 0x80, 0xc0, 0xaf]), Buffer.alloc(1 << 20, "A")]);

const STAMP = "2026/11/22 04:36:01 [info] 10#0: ";
const NAMES = ["Time received", "Enter state P waiting", "Finish P running", "Received all tokens"];

/** What the proxy would log of requests with such ids, `boot` seconds after boot and on connections of their own; also lines inside lines, and lines without an end. */
function forgedLines(boot: number): Buffer[] {
  return HOSTILE_IDS.flatMap((id, at) => {
    const connection = 9_000_000 + at;
    const action = (name: string, stamp: string): Buffer =>
      Buffer.concat([
        Buffer.from(`${STAMP}*${connection} <<<Action: ${name}; Timestamp:${stamp}; RequestID:`),
        id,
        Buffer.from(
          ', client: 10.9.9.9, server: localhost, request: "POST /v1/completions HTTP/1.1", host: "localhost"\n',
        ),
      ]);
    return [
      ...NAMES.map((name, turn) => action(name, (boot + turn / 1000).toFixed(6))),
      action("<<<Action: Time received", boot.toFixed(6)),
      // As if a line feed had come through: the second half looks like a line of its own.
      Buffer.concat([
        Buffer.from(`${STAMP}*${connection} `),
        id,
        Buffer.from(`\n${STAMP}<<<Action: \n`),
        id,
        Buffer.from("\n"),
      ]),
    ];
  });
}

/** The forged line with the second of the log's own before it. */
function sameTime(own: Buffer, line: Buffer): Buffer {
  const stamp = own.subarray(0, 19);
  return /^\d{4}\/\d\d/.test(stamp.toString("latin1")) ? Buffer.concat([stamp, line.subarray(19)]) : line;
}

it("forged lines, control characters and ids of 1 MB leave the traces of all other requests as they are", async () => {
  const capture = readCapture("proxy-vllm/grpc");
  const sink = await OtlpSink.start();
  open.push({ stop: () => sink.close() });
  const shim = await Shim.start(
    ({ grpcPort, httpPort, metricsPort, errorLog }) => `
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${grpcPort}"}, http: {endpoint: "127.0.0.1:${httpPort}"}}}
  omni_proxy_log: {include: ["${errorLog}"], start_at: beginning, poll_interval: 20ms}
connectors: {request_merge: {span_wait: 10s, wait: 2s}}
exporters: {otlp: {endpoint: "${sink.address}", tls: {insecure: true}}}
service:
  pipelines:
    logs: {receivers: [omni_proxy_log], exporters: [request_merge]}
    traces/in: {receivers: [otlp], exporters: [request_merge]}
    traces: {receivers: [request_merge], exporters: [otlp]}
  telemetry: {metrics: {address: "127.0.0.1:${metricsPort}"}}
`,
  );
  open.push(shim);
  // A forged line behind each of the log's own, as long as there are any.
  const [, boot] = /Time received; Timestamp:(\d+\.\d+)/.exec(capture.errorLog.toString("latin1")) ?? [];
  const forged = forgedLines(Number(boot));
  const errorLog = Buffer.concat(
    linesOf(capture.errorLog).flatMap((line) => [line, ...forged.splice(0, 1).map((one) => sameTime(line, one))]),
  );
  expect(forged).toHaveLength(0);
  await shim.replay(planReplay({ ...capture, errorLog }), { paced: true });

  const ids = new Set(readLoggedRequests(capture.errorLog).map(({ id }) => id));
  const honest = (): MergedSpan[] => {
    const spans = readSpans(sink.bytes("traces")).map((span) => ({
      ...span,
      service: String(span.resource["service.name"]),
    }));
    const invented = new Set(
      spans
        .filter(
          ({ name, attributes }) =>
            name === ROOT && !ids.has(Buffer.from(String(attributes["request_id"])).toString("utf8", 0, 36)),
        )
        .map(({ traceId }) => traceId),
    );
    return spans.filter(({ traceId }) => !invented.has(traceId));
  };
  await sink.until(
    "every honest request is there",
    () => honest().filter(({ name }) => name === ROOT).length >= capture.manifest.length,
    30_000,
  );
  expect(await shim.stop(), shim.program.output.slice(-2000)).toEqual({ code: 0, signal: undefined });
  expect(checkCapture(capture, honest(), { access: false, toleranceNs: 2000 })).toEqual([]);
  // Nothing of a forged id reaches a terminal as it is.
  expect(shim.program.output).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(shim.program.output.length).toBeLessThan(100_000);
}, 120_000);
