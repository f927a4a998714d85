/** What `omnishim convert` says when it is done. */
import { printable } from "../omni/text.ts";
import type { ConvertReport } from "./convert.ts";
import { formatBytes, formatCount, listed } from "./words.ts";

/** Examples that are named of files and ids; the rest is counted. */
const MOST_NAMED = 5;

/** Lines for people, without a line feed at the end. */
export function describeConversion(report: ConvertReport): string {
  const { outcomes, summaries } = report;
  const ends = Object.entries(outcomes)
    .sort(([, a], [, b]) => b - a)
    .map(([outcome, count]) => `${formatCount(count)} ${outcome}`);
  const lines = [
    `${formatCount(report.requests)} requests in ${formatCount(report.lines)} lines of ${formatCount(report.logs)} logs (${formatBytes(report.bytes)})${ends.length > 0 ? `: ${ends.join(", ")}` : ""}`,
  ];
  if (report.mergedSpans > 0 || Object.keys(report.unmergedSpans).length > 0) {
    const left = Object.entries(report.unmergedSpans).map(([cause, count]) => `${formatCount(count)} ${cause}`);
    lines.push(
      `${formatCount(report.mergedSpans)} recorded spans joined, ${left.length > 0 ? left.join(", ") : "none left over"}; with prefill span ${formatCount(report.withPrefillSpan)}, with decode span ${formatCount(report.withDecodeSpan)}, complete ${formatCount(report.complete)} of ${formatCount(report.requests)}`,
    );
  }
  lines.push(
    summaries.traces > 0
      ? `${formatCount(report.traces)} traces, and ${summaries.traces} of statistics over ${formatCount(summaries.requests)} requests (${summaries.skipped} skipped at the ends)`
      : `${formatCount(report.traces)} traces; no statistics, because no request that ended well is left between the skipped ones`,
  );
  for (const { path, bytes, traces } of report.files)
    lines.push(`  ${printable(path)}  ${formatBytes(bytes)}, ${formatCount(traces)} traces`);
  if (report.clocks.length > 0)
    lines.push(
      `clocks as collected: ${listed(
        report.clocks.map((host) => printable(host)),
        MOST_NAMED,
      )}`,
    );
  const { endpoint } = report;
  if (endpoint)
    lines.push(
      `  ${printable(endpoint.url)}  ${formatCount(endpoint.requests)} requests sent${endpoint.retries > 0 ? `, ${endpoint.retries} tried again` : ""}`,
    );
  for (const warning of warningsOf(report)) lines.push(`Warning: ${warning}`);
  return lines.join("\n");
}

function warningsOf(report: ConvertReport): string[] {
  const out: string[] = [];
  const files = (list: readonly { path: string; reason: string }[]): string =>
    listed(
      list.map(({ path, reason }) => printable(`${path} (${reason})`)),
      MOST_NAMED,
    );
  if (report.missingIds.length > 0)
    out.push(
      `not in the logs: ${listed(
        report.missingIds.map((id) => printable(id)),
        MOST_NAMED,
      )}`,
    );
  if (report.skippedFiles.length > 0) out.push(`left out: ${files(report.skippedFiles)}`);
  if (report.damagedFiles.length > 0) out.push(`not read to the end: ${files(report.damagedFiles)}`);
  if (report.cutLines > 0) out.push(`${formatCount(report.cutLines)} lines were too long and were cut`);
  if (report.earlyReleases > 0)
    out.push(
      `${formatCount(report.earlyReleases)} requests were finished before their time, so many were open at once`,
    );
  if (report.partedTraces > 0)
    out.push(
      `${formatCount(report.partedTraces)} traces come in several parts, of which Jaeger's UI shows the last one: their spans lie too far apart`,
    );
  if (report.oversizedTraces > 0)
    out.push(`${formatCount(report.oversizedTraces)} traces are alone larger than a file should be`);
  if ((report.endpoint?.rejectedSpans ?? 0) > 0)
    out.push(`the endpoint left out ${formatCount(report.endpoint?.rejectedSpans ?? 0)} spans`);
  return out;
}
