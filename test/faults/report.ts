/** Collects the figures of all fault tests, prints them as one table, and puts that into docs/reliability.md. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Figures of one test, in spans. */
export interface FaultFigures {
  readonly fault: string;
  /** By the two senders. */
  readonly sent: number;
  readonly acknowledged: number;
  /** Sent and not acknowledged: refused, or the connection broke. */
  readonly refused: number;
  /** That the log tells of ended requests. */
  readonly logged: number;
  /** Different ones. */
  readonly atSink: number;
  /** That came again. */
  readonly duplicates: number;
  /** That came changed, or again as another. */
  readonly unequal: number;
  /** Acknowledged ones that the backend refused for good, counted by the program. */
  readonly forGood: number;
  /** Acknowledged or logged, and neither at the sink nor refused for good. */
  readonly lost: number;
  readonly seconds: number;
}

const RESULTS = "OMNISHIM_FAULT_RESULTS";
const BEGIN = "<!-- made by npm run test:faults -->";
const END = "<!-- end -->";
const DOCUMENT = fileURLToPath(new URL("../../docs/reliability.md", import.meta.url));

/** Adds a row. */
export function recordFigures(figures: FaultFigures): void {
  const file = process.env[RESULTS];
  if (file) appendFileSync(file, `${JSON.stringify(figures)}\n`);
}

function table(rows: readonly FaultFigures[]): string {
  const number = (value: number): string => value.toLocaleString("en-US");
  const columns = [
    "sent",
    "acknowledged",
    "refused",
    "logged",
    "atSink",
    "duplicates",
    "unequal",
    "forGood",
    "lost",
  ] as const;
  return [
    `${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, ${availableParallelism()} cores, ${cpus()[0]?.model ?? "?"}:`,
    "",
    "| fault | s | sent | acknowledged | refused | from the log | at the sink | duplicates | unequal | refused for good | lost |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ...rows.map(
      (row) => `| ${row.fault} | ${Math.round(row.seconds)} | ${columns.map((key) => number(row[key])).join(" | ")} |`,
    ),
  ].join("\n");
}

/** Vitest's global setup: before all tests, and behind them. In CI the document is left as it is. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-figures-"));
  const file = join(folder, "figures.jsonl");
  process.env[RESULTS] = file;
  return () => {
    const rows = existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as FaultFigures)
      : [];
    rmSync(folder, { recursive: true, force: true });
    if (rows.length === 0) return;
    const made = table(rows);
    process.stdout.write(`\n${made}\n\n`);
    if (process.env["CI"] || !existsSync(DOCUMENT)) return;
    const text = readFileSync(DOCUMENT, "utf8");
    const [before, rest] = text.split(BEGIN);
    const [, after] = (rest ?? "").split(END);
    if (before === undefined || after === undefined) return;
    writeFileSync(DOCUMENT, `${before}${BEGIN}\n${made}\n${END}${after}`);
  };
}
