/** A running ssh whose output is read record by record and byte by byte. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem } from "../problem.ts";
import type { Server } from "./server-list.ts";
import { explainFailure, type SshOptions, sshArguments } from "./ssh.ts";

/** Longer records are none of ours. */
const MOST_RECORD = 256 * 1024;
/** What a login shell may say before the script's answer begins. */
const MOST_GREETING = 256 * 1024;
const MOST_MESSAGES = 64 * 1024;
/** How long ssh may take to end once it was told to. */
const END_MS = 5_000;
/** How long its last messages are waited for once it has ended: something that it started may hold stderr open. */
const LAST_WORDS_MS = 500;

/** One connection. Calls are made one after the other. Always `close` it. */
export class Session {
  readonly #server: Server;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #ended: Promise<string>;
  /** Settles when stderr has ended. */
  readonly #heard: Promise<void>;
  readonly #stallMs: number;
  #chunk: Buffer = Buffer.alloc(0);
  #messages = "";
  #stalled = false;

  /** `stallMs`: the other side may be silent for this long. */
  constructor(server: Server, options: SshOptions, stallMs: number, stop: AbortSignal | undefined) {
    this.#server = server;
    this.#stallMs = stallMs;
    const child = spawn("ssh", sshArguments(server, options), { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.on("error", (error: NodeJS.ErrnoException) =>
        resolve(error.code === "ENOENT" ? "there is no ssh here: install openssh-client" : `ssh: ${error.message}`),
      );
      child.on("exit", (code, signal) =>
        resolve(signal ? `ssh was ended by ${signal}` : `the connection ended (ssh: ${code})`),
      );
    });
    // What is written to a connection that has ended is lost, and reading tells why.
    child.stdin.on("error", () => undefined);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (this.#messages.length < MOST_MESSAGES) this.#messages += text;
    });
    this.#heard = new Promise((resolve) => child.stderr.on("close", resolve));
    this.#chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    stop?.addEventListener("abort", this.#kill, { once: true });
    void this.#ended.then(() => stop?.removeEventListener("abort", this.#kill));
    if (stop?.aborted) this.#kill();
  }

  readonly #kill = (): void => {
    this.#child.kill("SIGTERM");
  };

  /** What ssh and the commands at the other side said on stderr. */
  get messages(): string {
    return this.#messages;
  }

  /** Gives the other side's sh more to run; a binary string. */
  send(script: string): void {
    this.#child.stdin.write(Buffer.from(script, "latin1"));
  }

  /** Reads up to a line that is `mark` alone, and throws away what comes before. @throws Problem */
  async greeting(mark: string): Promise<void> {
    const wanted = Buffer.from(`\n${mark}\n`);
    let seen: Buffer = Buffer.alloc(0);
    for (;;) {
      const at = seen.indexOf(wanted);
      if (at >= 0) {
        this.#chunk = seen.subarray(at + wanted.length);
        return;
      }
      if (seen.length > MOST_GREETING) throw new Problem("its login shell says too much before it runs a command");
      seen = Buffer.concat([seen, await this.#more()]);
    }
  }

  /** The next record, without its NUL, as a binary string. @throws Problem */
  async record(): Promise<string> {
    let text = "";
    for (;;) {
      const end = this.#chunk.indexOf(0);
      if (end >= 0) {
        text += this.#chunk.toString("latin1", 0, end);
        this.#chunk = this.#chunk.subarray(end + 1);
        return text;
      }
      text += this.#chunk.toString("latin1");
      if (text.length > MOST_RECORD) throw new Problem("it answers with something else than was asked for");
      this.#chunk = await this.#more();
    }
  }

  /** The next `length` bytes, piece by piece. @throws Problem */
  async bytes(length: number, take: (piece: Buffer) => Promise<void>): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.#chunk.length === 0) this.#chunk = await this.#more();
      const piece = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(piece.length);
      left -= piece.length;
      await take(piece);
    }
  }

  /** Ends it, at once where it does not end by itself. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    this.#child.stdout.destroy();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), END_MS);
    this.#kill();
    await this.#ended;
    clearTimeout(timer);
    this.#child.stderr.destroy();
  }

  async #more(): Promise<Buffer> {
    const timer = setTimeout(() => {
      this.#stalled = true;
      this.#kill();
    }, this.#stallMs);
    try {
      const { value, done } = await this.#chunks.next();
      if (!done) return value;
    } finally {
      clearTimeout(timer);
    }
    const ending = await this.#ended;
    await Promise.race([this.#heard, sleep(LAST_WORDS_MS)]);
    if (this.#stalled) throw new Problem(`it was silent for ${this.#stallMs / 1000} s (--stall-timeout)`);
    throw new Problem(explainFailure(this.#messages, ending, this.#server));
  }
}
