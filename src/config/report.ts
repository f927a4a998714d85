/** What is wrong with the configuration, for a person: the Collector's words, the place, the line, what to do. */
import { DELIMITER, type Span } from "./node.ts";
import type { Problem } from "./resolve.ts";

/** Characters of a line that are shown; a longer one is cut around the place. */
const EXCERPT_WIDTH = 100;

/** Where a span starts, as editors count: both from 1, columns in characters. */
export function positionOf(span: Span): { line: number; column: number } {
  const before = span.source.text.slice(0, span.start);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: [...before.slice(lineStart)].length + 1 };
}

/** `service::pipelines::traces: references exporter "nope" which is not configured`: the line the Collector prints. */
export function problemLine(problem: Problem): string {
  return problem.path.length === 0 ? problem.message : `${problem.path.join(DELIMITER)}: ${problem.message}`;
}

/**
 * One problem:
 * ```
 * service::pipelines::traces: references exporter "jeager" which is not configured
 *   --> otel.yml:14:19
 *    |
 * 14 |       exporters: [jeager]
 *    |                   ^^^^^^
 *    = did you mean `jaeger`?
 * ```
 */
export function formatProblem(problem: Problem): string {
  const lines = [problemLine(problem)];
  const { at, hint } = problem;
  const excerpt = at && at.source.text !== "" ? excerptOf(at) : undefined;
  if (at && excerpt) {
    const { line, column } = positionOf(at);
    const margin = " ".repeat(String(line).length);
    lines.push(
      ` ${margin}--> ${at.source.name}:${line}:${column}`,
      ` ${margin} |`,
      ` ${line} | ${excerpt.text}`,
      ` ${margin} | ${excerpt.marks}`,
    );
    if (hint) lines.push(` ${margin} = ${hint}`);
  } else if (hint) lines.push(`  = ${hint}`);
  return lines.join("\n");
}

/** All problems, each as `Error: …` like the Collector's, and how many when there are several. */
export function formatProblems(problems: readonly Problem[]): string {
  const blocks = problems.map((problem) => `Error: ${formatProblem(problem)}`);
  if (problems.length > 1) blocks.push(`${problems.length} problems in the configuration`);
  return blocks.join("\n\n");
}

/** The line and a row of carets under the span; tabs stay, so that the carets stand right. */
function excerptOf(at: Span): { text: string; marks: string } {
  const { text } = at.source;
  const lineStart = text.lastIndexOf("\n", at.start - 1) + 1;
  const newline = text.indexOf("\n", at.start);
  const lineEnd = newline < 0 ? text.length : newline;
  const end = Math.max(at.start + 1, Math.min(at.end, lineEnd));
  let from = lineStart;
  let cut = "";
  if (lineEnd - lineStart > EXCERPT_WIDTH) {
    from = Math.max(lineStart, Math.min(at.start - EXCERPT_WIDTH / 4, lineEnd - EXCERPT_WIDTH));
    if (from > lineStart) cut = "…";
  }
  const shown = text.slice(from, lineEnd).trimEnd();
  const tail = shown.length > EXCERPT_WIDTH ? `${shown.slice(0, EXCERPT_WIDTH)}…` : shown;
  const before = cut.replace("…", " ") + text.slice(from, at.start).replace(/[^\t]/g, " ");
  const marks = "^".repeat(Math.max(1, Math.min([...text.slice(at.start, end)].length, EXCERPT_WIDTH)));
  return { text: printable(cut + tail), marks: before + marks };
}

/** Control characters of a broken file stay out of the terminal. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\u00b7");
}
