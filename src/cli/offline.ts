/** What the offline commands share at the edge: exit codes, progress, numbers among the options. */
import { setFlagsFromString } from "node:v8";
import { InvalidArgumentError } from "commander";
import { EXIT, Problem } from "../offline/problem.ts";
import type { Progress } from "../offline/reading.ts";
import { CommandError, type Edge, StopSignal } from "./edge.ts";

/** For each offline command's help. */
export const EXIT_CODES = `
Exit codes:
  ${EXIT.ok}  done
  ${EXIT.failed}  something could not be read, written or sent, or the command line makes no sense
  ${EXIT.nothing}  everything was read and nothing was found
  130, 143  interrupted (SIGINT, SIGTERM); no file is left half-written`;

/** A shell's exit codes for a command that a signal ended. */
const SIGNAL_CODES: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };
/** Between two looks of the progress line. */
const REDRAW_MS = 200;

/**
 * Runs an offline command; `interrupted` is said when a signal ends it.
 * @returns the exit code @throws CommandError for a Problem that ends with EXIT.failed
 */
export async function offline(
  edge: Edge,
  run: () => Promise<number>,
  interrupted = "Interrupted: nothing was written",
): Promise<number> {
  // These commands run for seconds, in which compiling is a good part of the work: with less put into one another, functions
  // are compiled sooner (5,000 requests: a sixth less CPU time), and what runs for longer takes as long as before.
  setFlagsFromString("--max-inlined-bytecode-size-cumulative=100");
  try {
    return await run();
  } catch (error) {
    if (error instanceof StopSignal) {
      edge.stderr.write(`${interrupted}\n`);
      return SIGNAL_CODES[error.name] ?? EXIT.failed;
    }
    if (!(error instanceof Problem)) throw error;
    if (error.exitCode === EXIT.failed) throw new CommandError(error.message);
    edge.stderr.write(`${error.message}\n`);
    return error.exitCode;
  }
}

/** A line on stderr that says how far it is, when stderr is a terminal. */
export function progressOf({ stderr }: Edge): Progress {
  if (stderr.isTTY !== true) return { show: () => undefined, clear: () => undefined };
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    show(done, total) {
      const nowMs = performance.now();
      if (nowMs - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs;
      stderr.write(`\rreading ${total > 0 ? Math.min(100, Math.floor((100 * done) / total)) : 0} %\u001b[K`);
    },
    clear() {
      if (drawnMs > Number.NEGATIVE_INFINITY) stderr.write("\r\u001b[K");
    },
  };
}

/** Parses an option that is a whole number from `least` on. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least)) throw new InvalidArgumentError(`Write a whole number, ${least} or more.`);
    return value;
  };
}

/** Parses `NAME=VALUE` or `NAME: VALUE`, gathering them. */
export function header(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const found = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*[:=]\s*(.*)$/.exec(text);
  if (!found) throw new InvalidArgumentError("Write NAME=VALUE.");
  return { ...before, [(found[1] as string).toLowerCase()]: found[2] as string };
}
