#!/usr/bin/env node
/** The process edge: arguments in, signals in, exit code out. Nothing else calls process.exit. */
import { setFlagsFromString } from "node:v8";

// Before anything allocates: fewer threads that collect garbage beside the one that works (docs/performance.md has what each
// saves). `--single-threaded-gc` is these and more, and aborts when it is set here.
setFlagsFromString("--no-concurrent-marking");
setFlagsFromString("--no-concurrent-sweeping");
setFlagsFromString("--no-parallel-scavenge");

const [{ main }, { StopSignal }] = await Promise.all([import("./cli/main.ts"), import("./cli/edge.ts")]);

/** How long a failure that nothing caught may take to drain before the process ends all the same. */
const CRASH_TIMEOUT_MS = 15_000;

const stop = new AbortController();
let crashed = false;

function onSignal(name: NodeJS.Signals): void {
  if (stop.signal.aborted) {
    process.stderr.write(`Received ${name} again: ending at once\n`);
    process.exit(1);
  }
  stop.abort(new StopSignal(name));
}

function onCrash(error: unknown): void {
  crashed = true;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`Error: unexpected, please report it: ${text}\n`);
  if (stop.signal.aborted) return;
  setTimeout(() => process.exit(1), CRASH_TIMEOUT_MS).unref();
  stop.abort(error instanceof Error ? error : new Error(String(error)));
}

process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
let onHangup = (): void => {
  process.stderr.write("SIGHUP: nothing runs yet that could be reloaded\n");
};
process.on("SIGHUP", () => onHangup());
process.on("uncaughtException", onCrash).on("unhandledRejection", onCrash);
// A reader that went away (`omnishim components | head`) is no failure.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") onCrash(error);
  });

const listen = (then: () => void): void => {
  onHangup = then;
};
const { env, stdout, stderr } = process;
const code = await main(process.argv.slice(2), { env, stdout, stderr, stop: stop.signal, onHangup: listen });
process.exit(crashed ? 1 : code);
