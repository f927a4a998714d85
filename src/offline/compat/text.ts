/** The layout's spans as the script writes them, its random ids replaced by ones that follow from the log. */
import { createHash } from "node:crypto";
import type { CompatSpan } from "./layout.ts";

/** Microseconds as Python's int(seconds * 1e6) has them. */
export function toMicros(seconds: number): number {
  return Math.trunc(seconds * 1e6);
}

/** A span's length as the script has it; never negative, although its actions may be written in another order. */
export function lengthMicros(span: CompatSpan): number {
  return toMicros(span.end - span.start);
}

/** A request's trace as one JSON object. */
export function requestText(traceId: string, requestId: string, spans: readonly CompatSpan[]): string {
  return traceJson(
    traceId,
    spans.map((span, index) => ({
      span,
      service: span.name,
      operation: span.operation,
      startTime: toMicros(span.start),
      duration: lengthMicros(span),
      tags: [
        tag("RequestID", "string", requestId),
        tag("role", "string", span.role),
        tag("ip", "string", span.ip),
        tag("start_action", "string", span.startAction),
        tag("end_action", "string", span.endAction),
        tag("start_time", "float", span.start),
        tag("end_time", "float", span.end),
      ],
      log: toMicros(span.start),
      index,
    })),
  );
}

/** A span of a summary trace. */
export interface CompatSummarySpan {
  readonly span: CompatSpan;
  readonly service: string;
  /** The statistic in microseconds. */
  readonly value: number;
}

/** A summary trace as one JSON object; `title` is what the script puts where a log's time belongs. */
export function summaryText(traceId: string, title: string, spans: readonly CompatSummarySpan[]): string {
  return traceJson(
    traceId,
    spans.map(({ span, service, value }, index) => ({
      span,
      service,
      operation: index === 0 ? " " : span.operation,
      startTime: toMicros(span.start),
      duration: roundHalfEven(value),
      tags: [
        tag("RequestID", "string", "average_all_requests"),
        tag("role", "string", span.role),
        tag("start_action", "string", span.startAction),
        tag("end_action", "string", span.endAction),
        tag("average time duration", "float", value),
      ],
      log: title,
      index,
    })),
  );
}

interface Entry {
  readonly span: CompatSpan;
  readonly service: string;
  readonly operation: string;
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly unknown[];
  readonly log: number | string;
  readonly index: number;
}

function traceJson(traceID: string, entries: readonly Entry[]): string {
  const spanID = (index: number): string => spanIdOf(traceID, index);
  return JSON.stringify({
    traceID,
    spans: entries.map(({ span, service, operation, startTime, duration, tags, log, index }) => ({
      traceID,
      spanID: spanID(index),
      operationName: operation,
      references: span.parent < 0 ? [] : [{ refType: "CHILD_OF", traceID, spanID: spanID(span.parent) }],
      startTime,
      duration,
      tags,
      processID: service,
      logs: [{ timestamp: log, fields: [] }],
    })),
    processes: Object.fromEntries(
      entries.map(({ service }) => [service, { serviceName: service, tags: [tag("service", "string", service)] }]),
    ),
  });
}

function tag(key: string, type: string, value: string | number): unknown {
  return { key, type, value };
}

function spanIdOf(traceId: string, index: number): string {
  return createHash("sha256").update(`${traceId} ${index}`).digest("hex").slice(0, 16);
}

/** Python's round(). */
function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
