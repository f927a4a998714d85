import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { proxyCaptureNames, readCapture } from "../../test/kit/captures.ts";
import { attribute, comparable, linesOf, MergeRun, type OutSpan, spansOf } from "../../test/kit/merge-run.ts";
import { convertOptions, Workplace } from "../../test/kit/offline.ts";
import { convert } from "./convert.ts";
import { readRequests } from "./otlp/recording.ts";
import { NO_PROGRESS } from "./reading.ts";
import { SUMMARY_SERVICE } from "./summary/summary.ts";

const NO_NOTES = { damaged: () => undefined, cut: () => undefined, read: () => undefined };

/** What the connector makes of a capture, lines and rows first. */
async function live(name: string): Promise<OutSpan[]> {
  const capture = readCapture(name);
  const run = await new MergeRun().start();
  await run.lines(linesOf(capture.errorLog), "/var/log/omni/nginx_error.log");
  await run.lines(linesOf(capture.accessLog), "/var/log/omni/nginx_access.log");
  for (const { bytes } of capture.payloads) await run.spans(bytes);
  await run.clock.advance(30_000);
  await run.stop();
  return run.output();
}

/** `Start to schedule` is unix time, what follows is the boot clock: how far apart they are is known as well as the clock is. */
const FROM_WALL_CLOCK = new Set(["Trace for Omni Proxy", "Proxy received request", "TTFT"]);

function withoutWallClock(span: OutSpan): OutSpan {
  if (span.service !== "omni-proxy" || !FROM_WALL_CLOCK.has(span.name)) return span;
  const attributes = span.attributes.filter(({ key }) => key !== "omni.ttft_seconds");
  return { ...span, attributes, endUnixNano: span.startUnixNano };
}

interface Times {
  readonly startUs: number;
  readonly lengthUs: number;
  readonly fromWallClock: boolean;
  /** As its request's root says. */
  readonly uncertainUs: number;
}

function times(spans: readonly OutSpan[]): Map<string, Times> {
  const uncertain = new Map<string, number>();
  for (const span of spans) {
    const ms = attribute(span, "omni.clock.uncertainty_ms");
    if (typeof ms === "number") uncertain.set(span.traceId, Math.max(ms * 1000, uncertain.get(span.traceId) ?? 0));
  }
  return new Map(
    spans.map((span) => [
      `${span.traceId}/${span.spanId}`,
      {
        startUs: Number(span.startUnixNano) / 1000,
        lengthUs: Number(span.endUnixNano - span.startUnixNano) / 1000,
        fromWallClock: span.service === "omni-proxy" && FROM_WALL_CLOCK.has(span.name),
        uncertainUs: uncertain.get(span.traceId) ?? 0,
      },
    ]),
  );
}

describe("replay", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  async function offline(name: string, timezone = "auto"): Promise<OutSpan[]> {
    const otlp = readCapture(name).payloads.length > 0 ? [place.recording(name)] : [];
    const out = place.at("traces.bin");
    await convert(convertOptions(place.logs(name), out, { format: "otlp-proto", otlp, timezone }), NO_PROGRESS);
    const spans: OutSpan[] = [];
    for await (const request of readRequests(out, NO_NOTES)) spans.push(...spansOf(request));
    return spans.filter(({ service }) => service !== SUMMARY_SERVICE);
  }

  it.each(proxyCaptureNames())("replay makes the same traces of %s as the live path", async (name) => {
    const [ours, theirs] = [await offline(name), await live(name)];
    const [a, b] = [comparable(ours.map(withoutWallClock)), comparable(theirs.map(withoutWallClock))];
    expect([...a.keys()].sort()).toEqual([...b.keys()].sort());
    expect(a.size).toBeGreaterThan(0);
    const [ourTimes, theirTimes] = [times(ours), times(theirs)];
    for (const [key, { text }] of b) {
      expect(a.get(key)?.text).toBe(text);
      const [got, wanted] = [ourTimes.get(key) as Times, theirTimes.get(key) as Times];
      const uncertainUs = Math.max(got.uncertainUs, wanted.uncertainUs);
      expect(Math.abs(got.startUs - wanted.startUs)).toBeLessThanOrEqual(uncertainUs);
      expect(Math.abs(got.lengthUs - wanted.lengthUs)).toBeLessThanOrEqual(got.fromWallClock ? uncertainUs : 0);
    }
  });

  it("replay joins recorded spans when the proxy's log is in the time of another zone than this machine's", async () => {
    const name = "proxy-vllm/grpc";
    const wanted = comparable(await offline(name));
    // The same log as a proxy in UTC+8 would have written it.
    const file = place.at("logs/nginx_error.log");
    const shifted = readFileSync(file, "latin1").replace(
      /^2026\/11\/22 (\d\d)/gm,
      (_, hour) => `2026/11/22 ${String(Number(hour) + 8).padStart(2, "0")}`,
    );
    place.write("east/nginx_error.log", Buffer.from(shifted, "latin1"));
    place.write("east/nginx_access.log", readFileSync(place.at("logs/nginx_access.log")));
    const out = place.at("east.bin");
    const report = await convert(
      convertOptions(place.at("east"), out, { format: "otlp-proto", otlp: [place.at("spans.bin")] }),
      NO_PROGRESS,
    );
    const spans: OutSpan[] = [];
    for await (const request of readRequests(out, NO_NOTES)) spans.push(...spansOf(request));
    const got = comparable(spans.filter(({ service }) => service !== SUMMARY_SERVICE));
    expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
    expect(report.complete).toBeGreaterThan(40);
  });
});
