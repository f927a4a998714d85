/** Collects the figures of all fault tests, prints them as one table, and puts that into docs/reliability.md. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Figures of one test. `lost` counts what was acknowledged and is not at the sink. */
export interface FaultFigures {
  readonly fault: string;
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly atSink: number;
  readonly duplicates: number;
  readonly lost: number;
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
  return [
    "| fault | sent | acknowledged | refused | at the sink | duplicates | lost |",
    "|---|---:|---:|---:|---:|---:|---:|",
    ...rows.map(
      (row) =>
        `| ${row.fault} | ${[row.sent, row.acknowledged, row.refused, row.atSink, row.duplicates, row.lost].map(number).join(" | ")} |`,
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
