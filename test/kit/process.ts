import { type ChildProcess, spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";

/** How long a test waits for what must happen, when it does not say. Only a failure waits so long; a slow machine must not be one. */
export const PATIENCE_MS = 60_000;

/** The built command line; `npm run build` makes it. */
export const CLI = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface Exit {
  /** Undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/**
 * A child process whose output can be waited for. Always `await stop()` (or `exit`) in a `finally` or an afterEach: a child
 * that is left would outlive the test. Ended by its own pid, never by name.
 */
export class Program {
  readonly #child: ChildProcess;
  readonly #name: string;
  #output = "";
  readonly #watchers = new Set<() => void>();
  #error: Error | undefined;
  #exit: Exit | undefined;

  /** Starts `command`; stdout and stderr are kept together, standard input is closed. */
  constructor(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
    this.#name = [command, ...args].join(" ");
    this.#child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        this.#wake();
      });
    this.#child.on("error", (error) => {
      this.#error = error;
      this.#exit ??= { code: undefined, signal: undefined };
      this.#wake();
    });
    // "close" comes after "exit", when all output has been read.
    this.#child.on("close", (code, signal) => {
      this.#exit = { code: code ?? undefined, signal: signal ?? undefined };
      this.#wake();
    });
  }

  /** `node dist/main.js` with these arguments. */
  static cli(
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv; nodeArgs?: readonly string[] } = {},
  ): Program {
    return new Program(
      process.execPath,
      [...(options.nodeArgs ?? []), CLI, ...args],
      options.env === undefined ? {} : { env: options.env },
    );
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Everything written so far to stdout and stderr. */
  get output(): string {
    return this.#output;
  }

  /** How it ended, once it has. */
  get ended(): Exit | undefined {
    return this.#exit;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when `check` gives something; rejects, with the output's end, when the program ends before or `timeoutMs` passes. */
  async until<T>(what: string, check: (output: string) => T | undefined, timeoutMs = PATIENCE_MS): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        settle();
      };
      const fail = (why: string): void =>
        done(() => reject(new Error(`${this.#name}: ${why} before ${what}; its output ends:\n${this.#tail()}`)));
      const look = (): void => {
        const found = check(this.#output);
        if (found !== undefined) done(() => resolve(found));
        else if (this.#exit) fail(this.#error?.message ?? `ended (${this.#exit.signal ?? this.#exit.code})`);
      };
      const timer = setTimeout(() => fail(`${timeoutMs} ms passed`), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** The first match of `pattern` in the output. */
  async line(pattern: RegExp, timeoutMs = PATIENCE_MS): Promise<RegExpExecArray> {
    return this.until(`output matched ${pattern}`, (output) => pattern.exec(output) ?? undefined, timeoutMs);
  }

  /** Resolves when the program has ended by itself. */
  async exit(timeoutMs = PATIENCE_MS): Promise<Exit> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`${this.#name}: still running after ${timeoutMs} ms; its output ends:\n${this.#tail()}`));
      }, timeoutMs);
      const look = (): void => {
        if (!this.#exit) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
    return this.#exit as Exit;
  }

  /** Sends `signal`, waits, and kills when that takes longer than `timeoutMs`. Idempotent. */
  async stop(signal: NodeJS.Signals = "SIGTERM", timeoutMs = 15_000): Promise<Exit> {
    if (this.#exit) return this.#exit;
    this.signal(signal);
    try {
      return await this.exit(timeoutMs);
    } catch {
      this.signal("SIGKILL");
      return this.exit(10_000);
    }
  }

  #tail(): string {
    return this.#output.slice(-4000) || "(nothing)";
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look();
  }
}

/**
 * Ports on 127.0.0.1 that are free now, for programs that cannot bind port 0 and say which they got. All are held
 * together before any is let go, so the answer has no port twice.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves when something accepts connections on 127.0.0.1:`port`; rejects when `program` ends before. */
export async function accepts(port: number, program: Program, timeoutMs = PATIENCE_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const connected = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (connected) return;
    if (program.ended || Date.now() > deadline)
      throw new Error(`nothing accepts on port ${port}; the program's output ends:\n${program.output.slice(-4000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
