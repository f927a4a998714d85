import type { Edge } from "../../src/cli/edge.ts";
import { main } from "../../src/cli/main.ts";

/** A command line that was run in this process. */
export class CommandRun {
  stdout = "";
  stderr = "";
  readonly #stop = new AbortController();
  readonly #watchers = new Set<() => void>();
  /** The exit code. */
  readonly code: Promise<number>;

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const edge: Edge = {
      env,
      stdout: {
        write: (text: string) => {
          this.stdout += text;
          this.#wake();
        },
      },
      stderr: {
        write: (text: string) => {
          this.stderr += text;
          this.#wake();
        },
      },
      stop: this.#stop.signal,
    };
    this.code = main(args, edge);
  }

  /** What a signal, or an error that nothing caught, does. */
  stop(reason: unknown): void {
    this.#stop.abort(reason);
  }

  /** Resolves with the first match in stderr; rejects when the command ends without. */
  line(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        const found = pattern.exec(this.stderr);
        if (!found) return false;
        this.#watchers.delete(look);
        resolve(found);
        return true;
      };
      this.#watchers.add(look);
      look();
      void this.code.then((code) => {
        if (!look()) reject(new Error(`ended with ${code} before ${pattern}:\n${this.stderr}`));
      });
    });
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look();
  }
}

/** Runs to the end. */
export async function command(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const run = new CommandRun(args, env);
  const code = await run.code;
  return { code, stdout: run.stdout, stderr: run.stderr };
}
