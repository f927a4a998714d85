/** Statistics as tables for a terminal. */
import { displayWidth, formatDuration, printable } from "../../omni/text.ts";
import { formatCount, listed } from "../words.ts";
import type { RequestCensus, Row, Statistics } from "./collector.ts";
import type { ListedSpan } from "./operations.ts";

const COLUMNS = ["count", "mean", "min", "p50", "p90", "p95", "p99", "max", "of e2e"] as const;
const MOST_EXAMPLES = 5;

/**
 * All tables and the census; `by` names what they are grouped by. Without a line feed at the end. `spansKnown`: whether
 * vLLM's spans could be among what was read.
 */
export function describeStatistics(statistics: Statistics, by: string | undefined, spansKnown: boolean): string {
  const { requests, tables, spans, traces, strays } = statistics;
  const lines = [
    `${formatCount(spans)} spans in ${formatCount(traces)} traces${strays > 0 ? `, ${formatCount(strays)} of them in no request` : ""}`,
    "",
  ];
  for (const { key, stages, figures } of tables) {
    if (by !== undefined) lines.push(`${by}: ${printable(key)}`);
    const rows = [...figures, ...stages];
    const split = figures.length > 0 && stages.length > 0 ? figures.length : -1;
    lines.push(...drawTable(rows, split), "");
  }
  lines.push(...describeCensus(requests, spansKnown));
  return lines.join("\n").trimEnd();
}

function drawTable(rows: readonly Row[], split: number): string[] {
  const cells = rows.map(({ name, count, mean, min, p50, p90, p95, p99, max, share }) => [
    printable(name),
    formatCount(count),
    ...[mean, min, p50, p90, p95, p99, max].map((ms) => formatDuration(ms * 1e6)),
    share === undefined ? "" : `${(share * 100).toFixed(1)} %`,
  ]);
  const head = ["", ...COLUMNS];
  const widths = head.map((text, column) =>
    Math.max(displayWidth(text), ...cells.map((row) => displayWidth(row[column] as string))),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((text, column) => {
        const gap = " ".repeat((widths[column] as number) - displayWidth(text));
        return column === 0 ? text + gap : gap + text;
      })
      .join("  ")
      .trimEnd();
  const drawn = cells.map(line);
  if (split > 0) drawn.splice(split, 0, "");
  return [line(head), ...drawn];
}

function describeCensus(census: RequestCensus, spansKnown: boolean): string[] {
  if (census.seen === 0) return ["No request of Omni Proxy is among them: no span is called Trace for Omni Proxy"];
  const of = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([key, count]) => `${formatCount(count)} ${printable(key)}`)
      .join(", ");
  const seen = `Requests: ${formatCount(census.seen)} seen (${of(census.outcomes)})`;
  if (!spansKnown) return [`${seen}; vLLM's spans were not given (--otlp)`];
  const lines = [
    `${seen}, ${formatCount(census.complete)} complete`,
    `  without prefill span: ${formatCount(census.withoutPrefillSpan)}${causes(of(census.withoutPrefillSpanBy))}`,
    `  without decode span:  ${formatCount(census.withoutDecodeSpan)}${causes(of(census.withoutDecodeSpanBy))}`,
  ];
  if (census.examples.length > 0)
    lines.push(
      `  ended well and yet lack one, for example: ${listed(
        census.examples.map((id) => printable(id)),
        MOST_EXAMPLES,
      )}`,
    );
  return lines;
}

function causes(text: string): string {
  return text === "" ? "" : ` (${text})`;
}

/** The shortest and the longest spans of an operation. */
export function describeExtremes(
  operation: string,
  extremes: { readonly shortest: readonly ListedSpan[]; readonly longest: readonly ListedSpan[] },
): string {
  if (extremes.longest.length === 0) return `No span is called ${printable(operation)}`;
  const list = (title: string, spans: readonly ListedSpan[]): string[] => [
    `${title} of ${printable(operation)}`,
    ...spans.map(
      ({ durationMs, requestId, traceId, service, startUs }) =>
        `  ${durationMs.toFixed(6).padStart(14)} ms  ${new Date(startUs / 1000).toISOString()}  trace ${traceId}  ${printable(service)}  request_id ${requestId === "" ? "-" : printable(requestId)}`,
    ),
  ];
  return [...list("Shortest", extremes.shortest), ...list("Longest", extremes.longest)].join("\n");
}
