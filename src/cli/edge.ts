/** What a command is given of the process, so that tests can stand in for it. */

import type { TerminalLike } from "../omni/terminal.ts";

/** Takes text; the process's own streams fit. */
export interface Output extends TerminalLike {
  write(text: string): unknown;
}

/** The process as a command sees it. */
export interface Edge {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborts when the program has to stop; the reason is a `StopSignal`, or the error that nothing caught. */
  readonly stop: AbortSignal;
  /** Has `then` called at every SIGHUP from here on. Absent: there are no hangups. */
  readonly onHangup?: (then: () => void) => void;
}

/** SIGTERM or SIGINT came. */
export class StopSignal {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** A failure that the operator can do something about: printed as `Error: message`, without a stack. */
export class CommandError extends Error {
  /** Lines printed as they are, when the message has a form of its own. */
  readonly text: string | undefined;
  constructor(message: string, text?: string) {
    super(message);
    this.name = "CommandError";
    this.text = text;
  }
}
