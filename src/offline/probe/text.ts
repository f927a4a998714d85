/** What `omnishim probe` says when it is done. */
import { printable } from "../../omni/text.ts";
import { percentile } from "../numbers/percentile.ts";
import type { ProbedRequest, ProbeReport } from "./probe.ts";

/** Problems that are spelled out; the rest is counted. */
const MOST_NAMED = 5;

type Figure = "ttft" | "tpot" | "endToEnd";
const FIGURES: readonly (readonly [Figure, string])[] = [
  ["ttft", "TTFT"],
  ["tpot", "TPOT"],
  ["endToEnd", "END-TO-END"],
];

/** A table of requests, the client's figures beside the trace's in milliseconds, and the verdict; without a line feed at the end. */
export function describeProbe(report: ProbeReport): string {
  const { requests, failed, untraced } = report;
  const traced = report.traces !== undefined;
  const head = [
    "REQUEST",
    "TOKENS",
    ...FIGURES.flatMap(([, name]) => (traced ? [name, "TRACE"] : [name])),
    ...(traced ? ["TRACE IS"] : []),
  ];
  const rows = requests.map((request) => rowOf(request, traced));
  if (requests.length > 1) rows.push(medians(requests, traced));
  const table = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...table.map((row) => (row[column] ?? "").length)));
  const last = traced ? head.length - 1 : undefined;
  const lines = table.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number;
        return column === 0 || column === last ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd(),
  );
  lines.push("times in milliseconds");
  lines.push(...problemsOf(requests));
  const ok = requests.length - failed;
  const verdict = traced
    ? `${ok} of ${requests.length} requests answered; ${ok - untraced} of them are one complete trace each at ${printable(report.traces ?? "")}`
    : `${ok} of ${requests.length} requests answered; no traces were looked at (--traces)`;
  return [...lines, verdict].join("\n");
}

function rowOf({ id, tokens, trace, problem, ...answer }: ProbedRequest, traced: boolean): string[] {
  const figures = FIGURES.flatMap(([figure]) =>
    traced ? [millis(answer[figure]), millis(trace?.[figure])] : [millis(answer[figure])],
  );
  const verdict = problem !== undefined ? "request failed" : (trace?.state ?? "");
  return [id, String(tokens), ...figures, ...(traced ? [verdict] : [])];
}

function medians(requests: readonly ProbedRequest[], traced: boolean): string[] {
  const good = requests.filter(({ problem }) => problem === undefined);
  const median = (values: (number | undefined)[]): string => {
    const known = values.filter((value) => value !== undefined).sort((a, b) => a - b);
    return known.length > 0 ? millis(percentile(known, 50)) : "-";
  };
  const figures = FIGURES.flatMap(([figure]) => {
    const client = median(good.map((request) => request[figure]));
    return traced ? [client, median(good.map(({ trace }) => trace?.[figure]))] : [client];
  });
  return ["median", "", ...figures, ...(traced ? [""] : [])];
}

function problemsOf(requests: readonly ProbedRequest[]): string[] {
  const lines = requests.flatMap(({ id, traceId, problem, trace }) => {
    if (problem !== undefined) return [`${id}: ${problem}`];
    return trace?.problem === undefined ? [] : [`${id}: trace ${traceId} ${trace.state}: ${printable(trace.problem)}`];
  });
  const more = lines.length - MOST_NAMED;
  return more > 0 ? [...lines.slice(0, MOST_NAMED), `and ${more} more`] : lines;
}

function millis(seconds: number | undefined): string {
  return seconds === undefined ? "-" : (seconds * 1000).toFixed(1);
}
