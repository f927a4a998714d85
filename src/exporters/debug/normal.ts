/** Verbosity `normal`: one line a span, log record or data point (debugexporter/internal/normal). */
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import type { Plain } from "../../pdata/plain.ts";
import { asText, child, children, plainBatch, textOf, valueText } from "./plain-batch.ts";

/** How the messages of a signal are nested, and what the Collector calls them. */
const LEVELS = {
  traces: {
    resources: "resourceSpans",
    scopes: "scopeSpans",
    items: "spans",
    resource: "ResourceTraces",
    scope: "ScopeTraces",
  },
  metrics: {
    resources: "resourceMetrics",
    scopes: "scopeMetrics",
    items: "metrics",
    resource: "ResourceMetrics",
    scope: "ScopeMetrics",
  },
  logs: {
    resources: "resourceLogs",
    scopes: "scopeLogs",
    items: "logRecords",
    resource: "ResourceLog",
    scope: "ScopeLog",
  },
} as const;

/** A batch as lines, a line feed behind each. @throws WireError when the bytes are no such request */
export function renderNormal(batch: OtlpBatch<Signal>): string {
  const names = LEVELS[batch.signal];
  const lines: string[] = [];
  for (const [index, resource] of children(plainBatch(batch), names.resources).entries()) {
    const url = bracketed(textOf(resource, "schemaUrl"));
    lines.push(`${names.resource} #${index}${url}${attributesBehind(child(resource, "resource"))}`);
    for (const [at, scope] of children(resource, names.scopes).entries()) {
      lines.push(`${names.scope} #${at}${scopeDetails(scope)}${attributesBehind(child(scope, "scope"))}`);
      for (const item of children(scope, names.items)) lines.push(...itemLines(batch.signal, item));
    }
  }
  return asText(lines);
}

function itemLines(signal: Signal, item: Plain): string[] {
  switch (signal) {
    case "traces":
      return [`${textOf(item, "name")} ${textOf(item, "traceId")} ${textOf(item, "spanId")}${attributesBehind(item)}`];
    case "logs":
      return [`${valueText(child(item, "body"))} ${attributes(item, "attributes").join(" ")}`];
    case "metrics":
      return metricLines(item);
  }
}

function metricLines(metric: Plain): string[] {
  for (const kind of ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] as const) {
    if (metric[kind] === undefined) continue;
    return children(child(metric, kind), "dataPoints").map(
      (point) => `${textOf(metric, "name")}{${attributes(point, "attributes").join(",")}} ${pointValue(kind, point)}`,
    );
  }
  return [];
}

function pointValue(kind: string, point: Plain): string {
  if (kind === "gauge" || kind === "sum") return textOf(point, "asInt") || textOf(point, "asDouble");
  const parts = [`count=${textOf(point, "count") || 0}`];
  for (const name of ["sum", "min", "max"]) if (point[name] !== undefined) parts.push(`${name}=${point[name]}`);
  if (kind === "summary")
    for (const quantile of children(point, "quantileValues"))
      parts.push(`q${textOf(quantile, "quantile") || 0}=${textOf(quantile, "value") || 0}`);
  if (kind === "histogram") {
    const bounds = (point["explicitBounds"] ?? []) as number[];
    for (const [at, count] of ((point["bucketCounts"] ?? []) as string[]).entries())
      parts.push(bounds[at] === undefined ? count : `le${bounds[at]}=${count}`);
  }
  if (kind === "exponentialHistogram") parts.push(...exponentialBuckets(point));
  return parts.join(" ");
}

/** Buckets with their upper bounds: base ^ index with base = 2 ^ (2 ^ -scale). */
function exponentialBuckets(point: Plain): string[] {
  const factor = Math.LN2 * 2 ** -Number(point["scale"] ?? 0);
  const counts = (side: string): [offset: number, counts: string[]] => {
    const buckets = child(point, side);
    return [Number(buckets["offset"] ?? 0), (buckets["bucketCounts"] ?? []) as string[]];
  };
  const [below, negative] = counts("negative");
  const [above, positive] = counts("positive");
  const zero = textOf(point, "zeroCount");
  return [
    ...negative.map((count, at) => `le${-Math.exp((below + at) * factor)}=${count}`).reverse(),
    ...(zero === "" ? [] : [`zero=${zero}`]),
    ...positive.map((count, at) => `le${Math.exp((above + at + 1) * factor)}=${count}`),
  ];
}

function attributes(message: Plain, name: string): string[] {
  return children(message, name).map((pair) => `${textOf(pair, "key")}=${valueText(child(pair, "value"))}`);
}

function attributesBehind(message: Plain): string {
  return attributes(message, "attributes")
    .map((pair) => ` ${pair}`)
    .join("");
}

function bracketed(url: string): string {
  return url === "" ? "" : ` [${url}]`;
}

function scopeDetails(scope: Plain): string {
  const { name, version } = {
    name: textOf(child(scope, "scope"), "name"),
    version: textOf(child(scope, "scope"), "version"),
  };
  const details = `${name}${version === "" ? "" : `@${version}`}`;
  return `${details === "" ? "" : ` ${details}`}${bracketed(textOf(scope, "schemaUrl"))}`;
}
