/** Collects the figures of all fault tests, prints them as tables, and puts those into docs/reliability.md. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
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

/** How long acknowledgements took, milliseconds. */
export interface Latency {
  readonly setup: string;
  readonly senders: number;
  readonly median: number;
  readonly p99: number;
}

type Row = ({ readonly kind: "faults" } & FaultFigures) | ({ readonly kind: "latency" } & Latency);

const RESULTS = "OMNISHIM_FAULT_RESULTS";
const DOCUMENT = fileURLToPath(new URL("../../docs/reliability.md", import.meta.url));

function record(row: Row): void {
  const file = process.env[RESULTS];
  if (file) appendFileSync(file, `${JSON.stringify(row)}\n`);
}

/** Adds a row to the table of latencies. */
export function recordLatency(latency: Latency): void {
  record({ kind: "latency", ...latency });
}

/** Adds a row to the table of faults. */
export function recordFigures(figures: FaultFigures): void {
  const { fault, sent, acknowledged, refused, logged, atSink, duplicates, unequal, forGood, lost, seconds } = figures;
  record({
    kind: "faults",
    fault,
    sent,
    acknowledged,
    refused,
    logged,
    atSink,
    duplicates,
    unequal,
    forGood,
    lost,
    seconds,
  });
}

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

function machine(): string {
  const date = new Date().toISOString().slice(0, 10);
  return `${date}, Node ${process.versions.node}, ${availableParallelism()} cores (${cpus()[0]?.model ?? "unknown"}), load ${loadavg()[0]?.toFixed(1)} at the end:`;
}

function faultTable(rows: readonly FaultFigures[]): string {
  const number = (value: number): string => value.toLocaleString("en-US");
  return [
    machine(),
    "",
    "| fault | s | sent | acknowledged | refused | from the log | at the sink | duplicates | unequal | refused for good | lost |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ...rows.map(
      (row) => `| ${row.fault} | ${Math.round(row.seconds)} | ${columns.map((key) => number(row[key])).join(" | ")} |`,
    ),
  ].join("\n");
}

function latencyTable(rows: readonly Latency[]): string {
  return [
    machine(),
    "",
    "| | senders | median | 99 of 100 |",
    "|---|--:|--:|--:|",
    ...rows.map(
      ({ setup, senders, median, p99 }) => `| ${setup} | ${senders} | ${median.toFixed(1)} ms | ${p99.toFixed(1)} ms |`,
    ),
  ].join("\n");
}

/** Puts a table between its markers; a document without them stays as it is. */
function intoDocument(name: string, table: string): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const begin = `<!-- ${name}: made by npm run test:faults -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf("<!-- end -->", from);
  if (from < 0 || to < 0) return;
  writeFileSync(DOCUMENT, `${text.slice(0, from)}${begin}\n\n${table}\n\n${text.slice(to)}`);
}

/** Vitest's global setup: before all tests, and behind them. Only `npm run test:faults` changes the document, and not in CI. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-figures-"));
  const file = join(folder, "figures.jsonl");
  process.env[RESULTS] = file;
  return () => {
    const rows = existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as Row)
      : [];
    rmSync(folder, { recursive: true, force: true });
    const faults = rows.flatMap((row) => (row.kind === "faults" ? row : []));
    const latencies = rows.flatMap((row) => (row.kind === "latency" ? row : []));
    const isWhole = process.env["npm_lifecycle_event"] === "test:faults";
    const tables = [
      ...(faults.length > 0 ? [["faults", faultTable(faults)] as const] : []),
      ...(latencies.length > 0 ? [["latency", latencyTable(latencies)] as const] : []),
    ];
    for (const [name, table] of tables) {
      process.stdout.write(`\n${table}\n\n`);
      if (isWhole && !process.env["CI"]) intoDocument(name, table);
    }
  };
}
