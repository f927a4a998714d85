/** What an offline command ends with. */
export const EXIT = {
  /** All was done. */
  ok: 0,
  /** Something could not be read, written or sent, or the command line makes no sense. */
  failed: 1,
  /** Everything was read and nothing was found: no request, or not the one that was asked for. */
  nothing: 2,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An expected failure: `message` says what was found, what was wanted and what to do; no stack is of use to anyone. */
export class Problem extends Error {
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = EXIT.failed, options?: ErrorOptions) {
    super(message, options);
    this.name = "Problem";
    this.exitCode = exitCode;
  }
}

/** The text of anything thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
