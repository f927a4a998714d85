/** Findings with their places, as JSON and as text. */
import { type ConfigNode, DELIMITER, locate, type Span } from "../config/node.ts";
import { positionOf } from "../config/report.ts";
import type { Problem } from "../config/resolve.ts";
import { type Draft, type Finding, needsAction, type Place } from "./finding.ts";

/** Where a setting is in the files; undefined when no text of a file is about it. */
function placeOf(span: Span | undefined): Place | undefined {
  if (!span || span.source.text === "") return undefined;
  const { line, column } = positionOf(span);
  const text = (span.source.text.split("\n")[line - 1] ?? "").trim();
  return { file: span.source.name, line, column, text };
}

/** Adds key and place. */
export function findingOf({ path, ...rest }: Draft, root: ConfigNode): Finding {
  if (!path) return rest;
  const place = placeOf(locate(root, path));
  return { ...rest, key: path.join(DELIMITER), ...(place ? { place } : {}) };
}

/** A configuration that cannot run, as findings. */
export function findingOfProblem({ path, message, hint, at }: Problem): Finding {
  const place = placeOf(at);
  return {
    check: "configuration",
    severity: "error",
    found: message,
    wanted: "a configuration that omnishim validate accepts",
    ...(hint ? { change: hint } : {}),
    ...(path.length > 0 ? { key: path.join(DELIMITER) } : {}),
    ...(place ? { place } : {}),
  };
}

const LABELS = { error: "ERROR", warning: "WARN ", note: "note ", ok: "ok   " } as const;

/** For people: what has to be done first, then what could not be looked at, what is fine last. */
export function reportText(findings: readonly Finding[]): string {
  const order = ["error", "warning", "note", "ok"] as const;
  const sorted = order.flatMap((severity) => findings.filter((finding) => finding.severity === severity));
  const blocks = sorted.map((finding) => {
    const { severity, check, found, wanted, change, place } = finding;
    const lines = [`${LABELS[severity]} ${check}: ${found}`];
    if (needsAction(finding)) {
      if (wanted) lines.push(`      wanted: ${wanted}`);
      if (change) lines.push(`      change: ${change}`);
      if (place) lines.push(`      at:     ${place.file}:${place.line}:${place.column}: ${place.text}`);
    }
    return `${lines.join("\n")}\n`;
  });
  const count = findings.filter(needsAction).length;
  const summary =
    count === 0 ? "Nothing has to be changed." : `${count} ${count === 1 ? "thing" : "things"} to change.`;
  return `${blocks.join("")}\n${summary}\n`;
}
