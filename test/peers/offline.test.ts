/** What `omnishim convert` writes, held against what real Jaegers make of the same traces. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, inject, it } from "vitest";
import { convert } from "../../src/offline/convert.ts";
import type { JaegerTag as Tag, JaegerTrace as Written } from "../../src/offline/jaeger/model.ts";
import { NO_PROGRESS } from "../../src/offline/reading.ts";
import { convertOptions, convertToJaeger, Workplace } from "../kit/offline.ts";
import { Jaeger, type JaegerTrace, type JaegerVersion } from "./jaeger.ts";

const peers = inject("peers");
const CAPTURE = "proxy-vllm/grpc";
const VERSIONS: readonly (readonly [JaegerVersion, string])[] = [
  ["v1", "jaeger-v1"],
  ["v2", "jaeger-v2"],
];

/** Tags that differ between Jaeger's versions and say nothing of the span: the format it came in. */
const ABOUT_TRANSPORT = new Set(["internal.span.format"]);
/** 1.56 puts the scope beside the resource under these names. */
const SCOPE = new Set(["otel.library.name", "otel.library.version", "otel.scope.name", "otel.scope.version"]);

function tagsOf(tags: readonly Tag[] | null | undefined, without: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(
    (tags ?? [])
      .filter(({ key }) => !ABOUT_TRANSPORT.has(key) && !without.has(key))
      .map(({ key, type, value }) => [key, { type, value }])
      .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
  );
}

/** The spans of a trace, which a file may have in several parts, without what no two Jaegers agree on: order, process names, warnings. */
function comparable(parts: readonly (Written | JaegerTrace)[], without: ReadonlySet<string>): unknown[] {
  return parts
    .flatMap(({ spans, processes }) =>
      spans.map((span) => {
        const process = processes[span.processID];
        return {
          traceID: span.traceID.padStart(32, "0"),
          spanID: span.spanID,
          operationName: span.operationName,
          startTime: span.startTime,
          duration: span.duration,
          references: (span.references ?? []).map((reference) => ({
            ...reference,
            traceID: reference.traceID.padStart(32, "0"),
          })),
          tags: tagsOf(span.tags, without),
          logs: span.logs ?? [],
          service: process?.serviceName,
          processTags: tagsOf(process?.tags as readonly Tag[] | undefined, without),
        };
      }),
    )
    .sort((a, b) => (a.spanID < b.spanID ? -1 : 1));
}

describe.each(VERSIONS)("convert and Jaeger %s", (version, peer) => {
  const binary = peers[peer]?.path;
  let jaeger: Jaeger | undefined;
  let place: Workplace | undefined;
  afterEach(async () => {
    await jaeger?.stop();
    place?.remove();
  });

  it.skipIf(binary === undefined)(
    `convert sends OTLP that Jaeger ${version} takes, and its Jaeger file is what that Jaeger answers for the same traces`,
    async () => {
      place = new Workplace();
      jaeger = await Jaeger.start(version, binary ?? "");
      const real = jaeger;
      const logs = place.logs(CAPTURE);
      const otlp = [place.recording(CAPTURE)];
      const { traces } = await convertToJaeger(logs, place.at("trace.json"), { otlp });
      const sent = await convert(
        convertOptions(logs, undefined, { otlp, endpoint: { url: `http://${real.http}`, headers: {} } }),
        NO_PROGRESS,
      );
      expect(sent.endpoint).toMatchObject({ rejectedSpans: 0, retries: 0 });
      expect(sent.traces + sent.summaries.traces).toBe(traces.length);
      // v1 keeps the scope with the resource, v2 with the span, as the file does.
      const without = version === "v1" ? SCOPE : new Set<string>();
      const byId = new Map<string, Written[]>();
      for (const trace of traces) byId.set(trace.traceID, [...(byId.get(trace.traceID) ?? []), trace]);
      for (const [traceId, parts] of byId) {
        const count = parts.reduce((sum, { spans }) => sum + spans.length, 0);
        const answer = await real.until(
          () => real.trace(traceId),
          (found) => found?.spans.length === count,
        );
        expect(answer, traceId).toBeDefined();
        expect(comparable([answer as JaegerTrace], without), traceId).toEqual(comparable(parts, without));
        // Every field that the answer's spans have is in the file, with the same kind of value.
        const kinds = (span: object | undefined) =>
          Object.fromEntries(
            Object.entries(span ?? {})
              .filter(([key]) => key !== "warnings" && key !== "flags")
              .map(([key, value]) => [key, Array.isArray(value) ? "array" : typeof value]),
          );
        expect(kinds(parts[0]?.spans[0])).toEqual(kinds(answer?.spans[0]));
      }
      expect(JSON.parse(readFileSync(place.at("trace.json"), "utf8"))).toHaveProperty("data");
    },
  );
});
