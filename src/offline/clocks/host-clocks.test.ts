import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../../test/kit/captures.ts";
import { convertOptions, Workplace } from "../../../test/kit/offline.ts";
import { decodeTraces } from "../../pdata/decode.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { attribute } from "../../pdata/model.ts";
import { writeRecord } from "../collect/record.ts";
import { type ConvertReport, convert } from "../convert.ts";
import { findLogs } from "../files/find-logs.ts";
import { readRequests } from "../otlp/recording.ts";
import { NO_PROGRESS } from "../reading.ts";

const CAPTURE = "proxy-vllm/grpc";
/** What vLLM's clock is made to be ahead of the proxy's. */
const AHEAD_MS = 5;
const NO_NOTES = { damaged: () => undefined, cut: () => undefined, read: () => undefined };

function tracking(seconds: number): string {
  return `Reference ID    : 0A000009 (10.0.0.9)
System time     : ${Math.abs(seconds).toFixed(9)} seconds ${seconds < 0 ? "slow" : "fast"} of NTP time
RMS offset      : 0.000000000 seconds
Root delay      : 0.000100000 seconds
Root dispersion : 0.000050000 seconds
Leap status     : Normal`;
}

describe("clocks that omnishim collect has recorded", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
    const { errorLog, accessLog, payloads } = readCapture(CAPTURE);
    place.write("logs/nginx_10.0.0.1.log", errorLog);
    place.write("logs/nginx_access_10.0.0.1.log", accessLog);
    const frames = payloads.flatMap(({ bytes }) => {
      const traces = decodeTraces(bytes);
      for (const { scopeSpans } of traces)
        for (const { spans } of scopeSpans)
          for (const span of spans) {
            span.startUnixNano += BigInt(AHEAD_MS) * 1_000_000n;
            span.endUnixNano += BigInt(AHEAD_MS) * 1_000_000n;
          }
      const moved = encodeTraces(traces);
      const head = Buffer.alloc(4);
      head.writeUInt32BE(moved.length);
      return [head, moved];
    });
    place.write("spans.bin", Buffer.concat(frames));
  });
  afterEach(() => place.remove());

  async function record(host: string, seconds: number): Promise<void> {
    await writeRecord(place.at(`logs/collect_${host}.json`), {
      host,
      collectedAt: "2026-11-22T04:40:00Z",
      tracking: tracking(seconds),
      files: new Map(),
    });
  }

  /** Converts; gives each joined vLLM span's offset and uncertainty, milliseconds. */
  async function offsets(): Promise<{ report: ConvertReport; told: { offset: unknown; uncertainty: unknown }[] }> {
    const out = place.at("out.bin");
    const report = await convert(
      convertOptions(place.at("logs"), out, { format: "otlp-proto", otlp: [place.at("spans.bin")] }),
      NO_PROGRESS,
    );
    const told: { offset: unknown; uncertainty: unknown }[] = [];
    for await (const bytes of readRequests(out, NO_NOTES))
      for (const { scopeSpans } of decodeTraces(bytes))
        for (const { attributes } of scopeSpans.flatMap(({ spans }) => spans)) {
          const offset = attribute(attributes, "omni.clock.offset_ms");
          if (offset !== undefined)
            told.push({ offset, uncertainty: attribute(attributes, "omni.clock.offset_uncertainty_ms") });
        }
    return { report, told };
  }

  it("convert narrows a vLLM host's offset by them, to what chrony bounds", async () => {
    const alone = await offsets();
    await record("10.0.0.1", 0.002);
    await record("127.0.0.1", 0.002 + AHEAD_MS / 1000); // where the capture's proxy found vLLM
    const helped = await offsets();
    expect(helped.report).toMatchObject({ clocks: ["10.0.0.1", "127.0.0.1"], skippedFiles: [] });
    expect(helped.report.mergedSpans).toBeGreaterThanOrEqual(alone.report.mergedSpans);
    expect(helped.told.length).toBeGreaterThan(10);
    const widest = (of: typeof alone): number => Math.max(...of.told.map(({ uncertainty }) => Number(uncertainty)));
    expect(widest(alone)).toBeGreaterThan(0.5);
    expect(widest(helped)).toBeLessThanOrEqual(0.2);
    for (const { offset } of helped.told) expect(Math.abs(Number(offset) - AHEAD_MS)).toBeLessThanOrEqual(0.2);
  });

  it("convert believes causes and effects over them when both contradict each other", async () => {
    const alone = await offsets();
    await record("10.0.0.1", 0);
    await record("127.0.0.1", -0.5);
    expect((await offsets()).told.slice(-5)).toEqual(alone.told.slice(-5));
  });

  it("findLogs leaves out a file that was not collected whole, and says so", async () => {
    const path = place.write("logs/nginx_10.0.0.2.log.omnishim-part", "half a line");
    expect((await findLogs(place.at("logs"), "auto")).skipped).toEqual([
      { path, reason: "not collected whole; run omnishim collect again" },
    ]);
  });

  it("findLogs takes no clock from a record that is damaged or tells none", async () => {
    place.write("logs/collect_10.0.0.1.json", '{"host": "10.0.0.1", "trac');
    place.write("logs/collect_10.0.0.2.json", '{"host": "10.0.0.2", "tracking": "506 Cannot talk to daemon"}');
    place.write("logs/collect_10.0.0.3.json", "null");
    const { clocks, skipped } = await findLogs(place.at("logs"), "auto");
    expect([...clocks.keys()]).toEqual([]);
    expect(skipped).toEqual([]);
  });
});
