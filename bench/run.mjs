#!/usr/bin/env node
/**
 * Compares the built program with the Collector on the same machine at the same time, by CPU time: `npm run bench`.
 *
 *   node bench/run.mjs [--quick] [--rounds N] [--seconds N] [--only TEXT] [--json FILE] [--profile DIR]
 *
 * --seconds N gives the CPU seconds of a warm-up and of a measurement; with little CPU to warm up in, Node's compiler is measured too.
 * Every case runs A B A B; the table has the ratio of the medians and the least and greatest ratio of a pair. Without the
 * Collector (tools/peers.mjs says why) the cases run for ours alone. Nothing fails because it is slow.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cases } from "./cases.mjs";
import { measureIdle, measureLines, measureLog, measureOpen, measureSpans, profileInto } from "./measure.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string", default: "" },
    profile: { type: "string" },
    json: { type: "string", default: `${root}bench/results/latest.json` },
  },
});
if (values.profile !== undefined) profileInto(values.profile);
const given = values.seconds === undefined ? undefined : Number(values.seconds);
const usual = values.quick ? { warm: 0.7, measured: 0.7, idle: 3 } : { warm: 4, measured: 2, idle: 10 };
const pace = given === undefined ? usual : { warm: given, measured: given, idle: given * 3 };
const rounds = Number(values.rounds ?? (values.quick ? 1 : 2));

function collector() {
  const tool = `${root}tools/peers.mjs`;
  const answer = execFileSync(process.execPath, [tool, "build", "--json", "otelcol"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(answer).otelcol.path;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2;
}

const medians = (runs) =>
  Object.fromEntries(Object.keys(runs[0] ?? {}).map((key) => [key, median(runs.map((run) => run[key]))]));

async function measure(one, program, peer) {
  if (one.kind === "spans") return measureSpans(peer, one[program], one.load, pace);
  if (one.kind === "idle") return measureIdle(peer, one[program], pace);
  if (one.kind === "open") return measureOpen();
  return one.kind === "log" ? measureLog(one.ours, pace) : measureLines(pace);
}

async function compare(one, peer) {
  const ours = [];
  const theirs = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measure(one, "ours"));
    if (peer && one.theirs && values.profile === undefined) theirs.push(await measure(one, "theirs", peer));
  }
  const result = { name: one.name, kind: one.kind, target: one.target, memory: one.memory, runs: { ours, theirs } };
  return { ...result, ours: medians(ours), ...(theirs.length > 0 ? { theirs: medians(theirs) } : {}) };
}

const k = (number) => (number >= 1e5 ? `${Math.round(number / 1e3)}k` : `${(number / 1e3).toFixed(1)}k`);
const times = (number) => number.toFixed(2);

/** Cells: case, ours, theirs, ratio, spread, target, memory, bytes. */
function row({ name, kind, ours, theirs, runs, target, memory }) {
  if (kind === "lines") return [name, `${k(ours.rate)} lines`, "", "", "", "500k lines", "", ""];
  if (kind === "open")
    return [name, `${[ours.few, ours.more, ours.many].map(times).join(", ")} us`, "", "", "", "same", "", ""];
  if (kind === "log")
    return [name, `${ours.core.toFixed(0)} % of a core`, "", "", "", "< 50 %", `${ours.peak.toFixed(0)} MB`, ""];
  if (kind === "idle")
    return [
      name,
      `${times(ours.cpu)} %`,
      theirs ? `${times(theirs.cpu)} %` : "",
      theirs && theirs.cpu > 0 ? times(ours.cpu / theirs.cpu) : "",
      "",
      "<= 1",
      `${ours.resident.toFixed(0)} MB${theirs ? ` / ${theirs.resident.toFixed(0)} MB` : ""}`,
      "",
    ];
  if (!theirs) return [name, k(ours.rate), "", "", "", "", `${ours.peak.toFixed(0)} MB`, ours.bytes.toFixed(0)];
  const pairs = runs.ours.map((run, at) => run.rate / runs.theirs[at].rate);
  return [
    name,
    k(ours.rate),
    k(theirs.rate),
    times(ours.rate / theirs.rate),
    `${times(Math.min(...pairs))}-${times(Math.max(...pairs))}`,
    target === undefined ? "" : `>= ${target}`,
    `${times(ours.peak / theirs.peak)} (${ours.peak.toFixed(0)} MB)${memory === undefined ? "" : `, <= ${memory}`}`,
    times(ours.bytes / theirs.bytes),
  ];
}

function table(results) {
  const head = ["case", "ours", "theirs", "ratio", "spread", "target", "memory", "bytes out"];
  const rows = [head, ...results.map(row)];
  const widths = head.map((_, column) => Math.max(3, ...rows.map((cells) => cells[column].length)));
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rows.slice(1).map(line)];
}

/** On a busy machine `--quick` begins no case after this long. */
const QUICK_MS = 75_000;
const peer = collector();
if (!peer) process.stderr.write("The Collector is not here: no ratios, ours alone\n");
const results = [];
const machine = `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`;
mkdirSync(dirname(values.json), { recursive: true });

/** After every case, so that a run that is stopped leaves what it has. */
function save() {
  const at = new Date().toISOString();
  writeFileSync(values.json, `${JSON.stringify({ machine, at, pace, rounds, results }, null, 2)}\n`);
}

const leftOut = [];
for (const one of cases) {
  if ((values.quick && !one.quick) || !one.name.includes(values.only)) continue;
  const startedAt = performance.now();
  if (values.quick && startedAt > QUICK_MS) {
    leftOut.push(one.name);
    continue;
  }
  try {
    results.push(await compare(one, peer));
    save();
    process.stderr.write(`${one.name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`);
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`${one.name}: FAILED: ${error.stack}\n`);
  }
}
process.stdout.write(`Spans a CPU-second, and ratios of ours to theirs (otelcol 0.155); ${machine}\n\n`);
process.stdout.write(`${table(results).join("\n")}\n`);
if (leftOut.length > 0) process.stdout.write(`\nNo time was left for: ${leftOut.join("; ")}\n`);
