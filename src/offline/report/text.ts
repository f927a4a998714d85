/** What `omnishim report` says when it is done. */
import { formatDuration, printable } from "../../omni/text.ts";
import { formatCount } from "../words.ts";
import type { ReportData } from "./collector.ts";

/** Lines for people, without a line feed at the end. */
export function describeReport(data: ReportData, out: string): string {
  const { distributions, statistics, instances, source } = data;
  const odd = new Set(
    instances.flatMap(({ rows }) => rows.filter(({ outlier }) => outlier !== undefined)).map(({ name }) => name),
  );
  const figures = distributions.map(
    ({ figure, p50, p99 }) => `${figure} ${formatDuration(p50 * 1e6)} (p99 ${formatDuration(p99 * 1e6)})`,
  );
  const lines = [
    `${printable(out)}: ${formatCount(statistics.requests.seen)} requests in ${formatCount(source.traces)} traces`,
    `  medians: ${figures.join(", ")}`,
  ];
  if (odd.size > 0) lines.push(`  outliers: ${[...odd].map((name) => printable(name)).join(", ")}`);
  for (const { path, reason } of source.damagedFiles.slice(0, 5))
    lines.push(`Warning: not read to the end: ${printable(`${path} (${reason})`)}`);
  return lines.join("\n");
}
