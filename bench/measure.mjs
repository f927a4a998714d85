/** One measurement of one program: start, warm up, the same work counted at both ends, stop. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configOf } from "./config.mjs";
import { knownRequests } from "./log.mjs";
import { cpuSeconds, freePorts, Helper, memory, Program, sleep } from "./process.mjs";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
/** Different requests that spans are of. */
const REQUESTS = 8192;
/** A merged request stays live for three seconds after it was sent; then its spans are late ones, as most are. */
const LINGER_MS = 4000;
const POLL_MS = 20;
/** `--profile DIR`: how `ours` is started then. The figures of such a run are not to be compared. */
const nodeArgs = [];
export function profileInto(folder) {
  nodeArgs.push("--cpu-prof", `--cpu-prof-dir=${folder}`);
}
/** Spans that were acknowledged and have not come after this long will not come. */
const LONGEST_WAIT_MS = 60_000;

/**
 * @typedef {object} Pace CPU seconds of the program under test before and while it is measured; seconds for what takes time
 * @property {number} warm
 * @property {number} measured
 * @property {number} idle
 */

/** Starts the program with sink and places of its own, and ends all of it after `work`. */
async function withProgram(peer, run, work) {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-bench-"));
  const sink = new Helper("sink.mjs");
  let program;
  try {
    const sinkPorts = await sink.ask();
    const [grpc, http, metrics] = await freePorts(3);
    const logs = run.merge ? work.prepare(folder) : undefined;
    const config = join(folder, "otel.yml");
    const storage = join(folder, "storage");
    const places = { grpc, http, metrics, sinkGrpc: sinkPorts.grpc, sinkHttp: sinkPorts.http, storage, logs };
    writeFileSync(config, configOf(run, places));
    program = peer
      ? new Program(peer, ["--config", config])
      : new Program(process.execPath, [...nodeArgs, MAIN, "--config", config]);
    await program.accepts(grpc);
    await program.accepts(http);
    return await work.measure({ program, sink, places });
  } finally {
    await program?.stop();
    sink.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function arrived(sink, spans) {
  for (const until = Date.now() + LONGEST_WAIT_MS; ; ) {
    const count = await sink.ask("count");
    if (count.spans >= spans) return count;
    if (Date.now() > until) throw new Error(`${spans - count.spans} of ${spans} acknowledged spans did not come out`);
    await sleep(POLL_MS);
  }
}

/** Sends until the program has used `seconds` of CPU. @returns spans acknowledged so far, all of which have come out */
async function burn({ program, sink }, load, seconds, before) {
  const start = cpuSeconds(program.pid);
  load.tell("go");
  while (cpuSeconds(program.pid) - start < seconds) await sleep(POLL_MS);
  const { sent, refused } = await load.ask("pause");
  if (refused > 0) throw new Error(`${refused} spans were refused`);
  const count = await arrived(sink, before + sent);
  return { sent, bytes: count.bytes, cpu: cpuSeconds(program.pid) };
}

/** @param {Pace} pace @returns spans a CPU-second, peak MB, bytes a span on the wire out */
export function measureSpans(peer, run, loadOf, pace) {
  const known = { path: "", requests: [] };
  const folder = mkdtempSync(join(tmpdir(), "omnishim-bench-"));
  Object.assign(known, knownRequests(folder, REQUESTS));
  const measure = async (at) => {
    let before = 0;
    if (run.merge) {
      await arrived(at.sink, REQUESTS);
      await sleep(LINGER_MS);
      before = (await at.sink.ask("count")).spans;
    }
    const load = new Helper("load.mjs");
    try {
      const port = loadOf.protocol === "grpc" ? at.places.grpc : at.places.http;
      await load.ask({ start: { ...loadOf, port, requests: known.requests } });
      const warm = await burn(at, load, pace.warm, before);
      const from = cpuSeconds(at.program.pid);
      const done = await burn(at, load, pace.measured, before);
      const spans = done.sent - warm.sent;
      return {
        rate: spans / (done.cpu - from),
        peak: memory(at.program.pid, "VmHWM"),
        bytes: (done.bytes - warm.bytes) / spans,
      };
    } finally {
      load.stop();
    }
  };
  return withProgram(peer, run, { prepare: () => known.path, measure }).finally(() =>
    rmSync(folder, { recursive: true, force: true }),
  );
}

/** @param {Pace} pace @returns percent of a core, resident MB */
export function measureIdle(peer, run, pace) {
  return withProgram(peer, run, {
    prepare: emptyLog,
    async measure({ program }) {
      await sleep(2000);
      const from = cpuSeconds(program.pid);
      await sleep(pace.idle * 1000);
      const cpu = ((cpuSeconds(program.pid) - from) / pace.idle) * 100;
      return { cpu, resident: memory(program.pid, "VmRSS"), peak: memory(program.pid, "VmHWM") };
    },
  });
}

/** @param {Pace} pace @returns percent of a core and lines a CPU-second while the log is followed; seconds from the last line to its spans */
export function measureLog(run, pace) {
  return withProgram(undefined, run, {
    prepare: emptyLog,
    async measure({ program, sink, places }) {
      const tail = new Helper("tail.mjs");
      try {
        await tail.ask({ file: places.logs, copies: Math.ceil(pace.idle * 2 * 40) });
        tail.tell("go");
        await sleep(pace.idle * 1000);
        const from = { cpu: cpuSeconds(program.pid), at: performance.now(), spans: (await sink.ask("count")).spans };
        await sleep(pace.idle * 1000);
        const cpu = cpuSeconds(program.pid) - from.cpu;
        const seconds = (performance.now() - from.at) / 1000;
        const written = await tail.ask("pause");
        const endedAt = performance.now();
        const lines = await readLines(places.metrics, written.requests);
        return {
          core: (cpu / seconds) * 100,
          requests: written.requests / (seconds + pace.idle),
          behind: (lines - endedAt) / 1000,
          peak: memory(program.pid, "VmHWM"),
        };
      } finally {
        tail.stop();
      }
    },
  });
}

/** Resolves with the time when as many requests were opened and sent as were written. */
async function readLines(port, requests) {
  for (const until = Date.now() + LONGEST_WAIT_MS; ; ) {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    let sum = 0;
    for (const [, value] of text.matchAll(/^omnishim_requests_seen(?:_total)?(?:\{[^}]*\})? (\S+)/gm))
      sum += Number(value);
    if (sum >= requests) return performance.now();
    if (Date.now() > until) throw new Error(`${requests - sum} of ${requests} logged requests were not sent`);
    await sleep(POLL_MS);
  }
}

function emptyLog(folder) {
  const path = join(folder, "nginx_error.log");
  writeFileSync(path, "");
  return path;
}

/** @param {Pace} pace @returns lines a CPU-second */
export function measureLines(pace) {
  const script = fileURLToPath(new URL("lines.mjs", import.meta.url));
  const { lines, cpu } = JSON.parse(
    execFileSync(process.execPath, [script, String(pace.measured)], { encoding: "utf8" }),
  );
  return { rate: lines / cpu };
}

/** @returns microseconds of CPU a span, with a thousand, ten thousand and a hundred thousand requests open */
export function measureOpen() {
  const script = fileURLToPath(new URL("open.mjs", import.meta.url));
  const micros = (open) => {
    const { spans, cpu } = JSON.parse(execFileSync(process.execPath, [script, String(open)], { encoding: "utf8" }));
    return (cpu * 1e6) / spans;
  };
  return { few: micros(1000), more: micros(10_000), many: micros(100_000) };
}
