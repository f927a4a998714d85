/** An explanation as text. */
import { displayWidth, formatDuration, printable, truncate } from "../../omni/text.ts";
import { renderTraces, type WaterfallOptions } from "../../omni/waterfall.ts";
import type { ExplainReport, Explanation } from "./explain.ts";
import type { StageTime } from "./medians.ts";

/** How to write. */
export interface ExplainStyle extends Required<Pick<WaterfallOptions, "width" | "colour" | "ascii">> {
  /** Log lines are cut to `width`: on a terminal. */
  readonly cut: boolean;
}

/** What nginx puts behind every message of a request. */
const SUFFIX = /, client: [^,]*, server: .*$/;

/** Differences below this are noise, and are not pointed at. */
const LEAST_EXCESS_MS = 0.5;
/** So many times the median is pointed at. */
const LEAST_FACTOR = 2;

/** Everything for people; a line feed at the end. */
export function describeExplanation(report: ExplainReport, style: ExplainStyle): string {
  const parts = report.requests.map((request) => describeRequest(request, report.source, style));
  const head = report.requests.length > 1 ? `${report.requests.length} requests have this id\n\n` : "";
  return head + parts.join(`\n${"-".repeat(Math.min(style.width, 40))}\n\n`);
}

function describeRequest(request: Explanation, source: ExplainReport["source"], style: ExplainStyle): string {
  const sections = [
    renderTraces(request.resourceSpans, style).trimEnd(),
    section("Why", request.decisions, "nothing is recorded of how its spans came together", style),
    section("Missing", request.missing, "nothing", style),
    [`Time${note(request.stages)}`, ...compare(request.stages, style)].join("\n"),
    lines(request, source, style),
  ];
  return `${sections.join("\n\n")}\n`;
}

function section(title: string, items: readonly string[], nothing: string, style: ExplainStyle): string {
  const shown = items.length > 0 ? items : [nothing];
  return [title, ...shown.map((item) => `  - ${printable(item, style)}`)].join("\n");
}

function note(stages: readonly StageTime[]): string {
  return stages.some(({ others }) => others > 0) ? "" : " (no other request to compare with)";
}

function compare(stages: readonly StageTime[], style: ExplainStyle): string[] {
  const rows = stages.map((stage) => {
    const { ms, medianMs, others } = stage;
    const usual = medianMs === undefined ? "" : formatDuration(medianMs * 1e6, style);
    return [
      printable(stage.stage, style),
      formatDuration(ms * 1e6, style),
      usual,
      others === 0 ? "" : String(others),
      remark(stage),
    ];
  });
  const head = ["", "took", "others' median", "others", ""];
  const widths = head.map((text, column) =>
    Math.max(text.length, ...rows.map((row) => displayWidth(row[column] as string))),
  );
  return [head, ...rows].map(
    (row) =>
      `  ${row
        .map((text, column) => {
          const gap = " ".repeat((widths[column] as number) - displayWidth(text));
          return column === 0 || column === row.length - 1 ? text + gap : gap + text;
        })
        .join("  ")
        .trimEnd()}`,
  );
}

/** What is worth pointing at. */
function remark({ ms, medianMs }: StageTime): string {
  if (medianMs === undefined || ms - medianMs < LEAST_EXCESS_MS || ms < medianMs * LEAST_FACTOR) return "";
  return medianMs === 0 ? "longer" : `${(ms / medianMs).toFixed(1)} times`;
}

function lines(request: Explanation, source: ExplainReport["source"], style: ExplainStyle): string {
  if (source !== "logs") return "Lines\n  none: this source has spans only";
  const shown: string[] = [];
  let log = "";
  for (const line of request.lines) {
    if (line.log !== log) shown.push(`  ${printable(line.log, style)}`);
    log = line.log;
    const text = printable(line.text.replace(SUFFIX, ""), style);
    shown.push(`    ${style.cut ? truncate(text, style.width - 4, style) : text}`);
  }
  const more = request.moreLines > 0 ? [`  and ${request.moreLines} more`] : [];
  return [`Lines (${request.lines.length + request.moreLines})`, ...shown, ...more].join("\n");
}
