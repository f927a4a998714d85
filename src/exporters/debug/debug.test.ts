import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { encodeWithProtobufjs } from "../../../test/kit/otlp-arbitrary.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import type { Signal } from "../../kernel/api.ts";
import { countItems } from "../../pdata/validate.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { debugExporterFactory } from "./factory.ts";

const batchOf = (signal: Signal, bytes: Buffer): AnyBatch => ({ signal, bytes, items: countItems(signal, bytes) });
const patient = new AbortController().signal;

const resource = { attributes: [{ key: "service.name", value: { stringValue: "vllm" } }] };
const attributes = [
  { key: "text", value: { stringValue: "x" } },
  { key: "count", value: { intValue: "9007199254740993" } },
  { key: "ratio", value: { doubleValue: 0.5 } },
  { key: "list", value: { arrayValue: { values: [{ boolValue: true }, { intValue: "7" }] } } },
  { key: "map", value: { kvlistValue: { values: [{ key: "a", value: { stringValue: "b" } }] } } },
  { key: "bytes", value: { bytesValue: Buffer.from("hi") } },
  { key: "nothing", value: {} },
];
const ATTRIBUTES = `text=x count=9007199254740993 ratio=0.5 list=[true,7] map={"a":"b"} bytes=aGk= nothing=`;
const traces = batchOf(
  "traces",
  encodeWithProtobufjs("traces", {
    resourceSpans: [
      {
        resource,
        schemaUrl: "https://s/1",
        scopeSpans: [
          {
            scope: { name: "lib", version: "1.2" },
            schemaUrl: "https://s/2",
            spans: [
              { name: "one", traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 2), attributes },
              { name: "two", traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 3) },
            ],
          },
        ],
      },
    ],
  }),
);
const logs = batchOf(
  "logs",
  encodeWithProtobufjs("logs", {
    resourceLogs: [
      {
        resource,
        scopeLogs: [
          { logRecords: [{ body: { stringValue: "a line" }, severityNumber: 9, attributes: attributes.slice(0, 1) }] },
        ],
      },
    ],
  }),
);
const point = { attributes: attributes.slice(0, 2) };
const metrics = batchOf(
  "metrics",
  encodeWithProtobufjs("metrics", {
    resourceMetrics: [
      {
        resource,
        scopeMetrics: [
          {
            metrics: [
              { name: "g", gauge: { dataPoints: [{ ...point, asDouble: 1.5 }] } },
              { name: "s", sum: { dataPoints: [{ asInt: "3" }, { asInt: "0" }] } },
              {
                name: "h",
                histogram: { dataPoints: [{ count: "3", sum: 4.5, bucketCounts: ["1", "2"], explicitBounds: [10] }] },
              },
              {
                name: "e",
                exponentialHistogram: {
                  dataPoints: [
                    {
                      count: "6",
                      scale: 0,
                      zeroCount: "1",
                      positive: { offset: 0, bucketCounts: ["2", "3"] },
                      negative: { offset: 1, bucketCounts: ["4"] },
                    },
                  ],
                },
              },
              {
                name: "q",
                summary: { dataPoints: [{ count: "2", sum: 3, quantileValues: [{ quantile: 0.5, value: 1.5 }] }] },
              },
            ],
          },
        ],
      },
    ],
  }),
);

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** What the exporter logs of these batches: [message, fields]. */
async function shown(section: object, ...batches: AnyBatch[]): Promise<[string, Record<string, unknown>][]> {
  const lines: string[] = [];
  const logger = createLogger({ level: "info", encoding: "json", write: (line) => lines.push(line) });
  const exporter = debugExporterFactory.configure(section).create(testSettings("debug", { logger }));
  await exporter.start(new TestHost());
  for (const batch of batches) await exporter.consumers[batch.signal]?.consume(batch as never, {});
  await exporter.shutdown(patient);
  return lines.map((line) => {
    const { msg, level: _level, ts: _ts, ...fields } = JSON.parse(line) as { msg: string } & Record<string, unknown>;
    return [msg, fields];
  });
}

describe("debugSchema", () => {
  it("has the Collector's defaults", () => {
    expect(debugExporterFactory.configure(undefined).effective).toEqual({
      verbosity: "basic",
      sampling_initial: 2,
      sampling_thereafter: 1,
      use_internal_logger: true,
    });
  });

  it.each([
    [{ verbosity: "detail" }, "did you mean `detailed`?"],
    [{ output_paths: ["stdout"] }, "output_paths: output_paths is not supported when use_internal_logger is true"],
    [
      { use_internal_logger: false, output_paths: [] },
      "output_paths: output_paths must not be empty when use_internal_logger is false",
    ],
  ])("refuses %j", (section, message) => {
    expect(() => debugExporterFactory.configure(section)).toThrow(message);
  });
});

describe("debugExporterFactory", () => {
  it("says the Collector's line and counts when verbosity is basic", async () => {
    expect(await shown({}, traces, metrics, logs)).toEqual([
      ["Traces", { "resource spans": 1, spans: 2 }],
      ["Metrics", { "resource metrics": 1, metrics: 5, "data points": 6 }],
      ["Logs", { "resource logs": 1, "log records": 1 }],
    ]);
  });

  it("gives a line an item, in the Collector's form, when verbosity is normal", async () => {
    const text = (await shown({ verbosity: "normal" }, traces, metrics, logs)).map(([message]) => message);
    const trace = "01".repeat(16);
    expect(text.filter((_, at) => at % 2 === 1)).toEqual([
      `ResourceTraces #0 [https://s/1] service.name=vllm
ScopeTraces #0 lib@1.2 [https://s/2]
one ${trace} ${"02".repeat(8)} ${ATTRIBUTES}
two ${trace} ${"03".repeat(8)}
`,
      `ResourceMetrics #0 service.name=vllm
ScopeMetrics #0
g{text=x,count=9007199254740993} 1.5
s{} 3
s{} 0
h{} count=3 sum=4.5 le10=1 2
e{} count=6 le${-Math.E}=4 zero=1 le${Math.E}=2 le${Math.exp(2 * Math.LN2)}=3
q{} count=2 sum=3 q0.5=1.5
`
        .replace(`le${-Math.E}=4`, `le${-Math.exp(Math.LN2)}=4`)
        .replace(`le${Math.E}=2`, `le${Math.exp(Math.LN2)}=2`),
      `ResourceLog #0 service.name=vllm
ScopeLog #0
a line text=x
`,
    ]);
  });

  it("draws a request's waterfall when verbosity is detailed", async () => {
    const folder = new URL("../../../test/fixtures/captures/proxy-vllm/grpc/otlp/", import.meta.url);
    const requests = readdirSync(folder).filter((name) => name.endsWith(".pb"));
    const bytes = Buffer.concat(requests.map((name) => readFileSync(new URL(name, folder))));
    const [, [text] = [""]] = await shown({ verbosity: "detailed" }, batchOf("traces", bytes));
    expect(text).toMatch(/^\n/);
    expect(text).toContain("llm_request");
  });

  it("shows every field of logs and metrics when verbosity is detailed", async () => {
    const [, [logText] = [""], , [metricText] = [""]] = await shown({ verbosity: "detailed" }, logs, metrics);
    expect(logText).toContain("      severityNumber: 9\n      body: a line\n      -> text: x\n");
    expect(metricText).toContain("name: h");
    expect(metricText).toContain("bucketCounts: 1, 2");
  });

  it.each(["normal", "detailed"])(
    "lets no sender begin a line or steer the terminal when verbosity is %s",
    async (verbosity) => {
      const body = { stringValue: "a\u001b[2J\nError: forged" };
      const bytes = encodeWithProtobufjs("logs", { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body }] }] }] });
      const [, [text] = [""]] = await shown({ verbosity }, batchOf("logs", bytes));
      expect(text).toContain("a\\x1b[2J\\x0aError: forged");
    },
  );

  it("is permanent when the batch cannot be read", async () => {
    const broken: AnyBatch = { signal: "traces", bytes: Buffer.from([0x0a, 9]), items: 1 };
    await expect(shown({ verbosity: "normal" }, broken)).rejects.toMatchObject({ disposition: "permanent" });
  });

  it("shows the first sampling_initial of a second, then every sampling_thereafter-th", async () => {
    const clock = new FakeClock();
    const lines: string[] = [];
    const logger = createLogger({ level: "info", encoding: "json", write: (line) => lines.push(line) });
    const exporter = debugExporterFactory
      .configure({ sampling_initial: 1, sampling_thereafter: 3 })
      .create(testSettings("debug", { logger, clock }));
    for (let at = 0; at < 10; at++) await exporter.consumers.traces?.consume(traces as never, {});
    expect(lines).toHaveLength(4);
    await clock.advance(1000);
    await exporter.consumers.traces?.consume(traces as never, {});
    expect(lines).toHaveLength(5);
  });

  it("appends to files, without time and level, when output_paths says so", async () => {
    const folder = await mkdtemp(join(tmpdir(), "debug-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const file = join(folder, "out.txt");
    const section = { use_internal_logger: false, output_paths: [file] };
    await shown(section, traces);
    await shown(section, logs);
    expect(await readFile(file, "utf8")).toBe(
      'Traces\t{"resource spans":1,"spans":2}\nLogs\t{"resource logs":1,"log records":1}\n',
    );
  });

  it("fails to start when an output path cannot be opened", async () => {
    const section = { use_internal_logger: false, output_paths: ["/nowhere/out.txt"] };
    await expect(shown(section, traces)).rejects.toThrow("output_paths: ENOENT");
  });

  it("counts what it was given", async () => {
    const settings = testSettings("debug/all");
    const exporter = debugExporterFactory.configure({}).create(settings);
    await exporter.consumers.traces?.consume(traces as never, {});
    expect(await settings.metrics.text()).toContain('otelcol_exporter_sent_spans{exporter="debug/all"} 2');
  });
});
