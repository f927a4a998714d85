import type { WaterfallOptions } from "./waterfall.ts";

/** What of a stream matters: `process.stdout` is one. */
export interface TerminalLike {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Wider bars tell no more. */
const MOST_COLUMNS = 160;

/**
 * How to draw on this stream: as wide as the terminal, 100 columns into a file or a pipe; colours only on a terminal
 * that is not "dumb" and without NO_COLOR (no-color.org); ASCII when the locale variables name an encoding other than UTF-8.
 * A container without any of them gets Unicode: its terminal is somebody's desktop.
 */
export function terminalOptions(
  stream: TerminalLike,
  env: Readonly<Record<string, string | undefined>>,
): Required<Pick<WaterfallOptions, "width" | "colour" | "ascii">> {
  const isTerminal = stream.isTTY === true;
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "";
  return {
    width: isTerminal && stream.columns ? Math.min(stream.columns, MOST_COLUMNS) : 100,
    colour: isTerminal && !env["NO_COLOR"] && env["TERM"] !== "dumb",
    ascii: locale !== "" && !/utf-?8/i.test(locale),
  };
}
