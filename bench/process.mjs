/** Child processes, and what the operating system says they used. Linux only: /proc. */
import { execFileSync, fork, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";

const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** CPU seconds of all threads so far, user and system. */
export function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field, the name in brackets, may have blanks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Memory in MB: `VmHWM` is the peak, `VmRSS` what is resident now. */
export function memory(pid, field) {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line[1]) / 1024;
}

/** Ports that nobody listens on now. */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve) => {
          const server = createServer().listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A helper process of this folder that answers messages one at a time. */
export class Helper {
  #child;

  constructor(file) {
    this.#child = fork(fileURLToPath(new URL(file, import.meta.url)));
  }

  /** What it says next, after `message` if there is one. */
  ask(message) {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error("a helper process of the benchmark ended"));
      this.#child.once("exit", ended);
      this.#child.once("message", (answer) => {
        this.#child.off("exit", ended);
        resolve(answer);
      });
      if (message !== undefined) this.#child.send(message);
    });
  }

  tell(message) {
    this.#child.send(message);
  }

  stop() {
    this.#child.disconnect();
  }
}

/** The program under test. */
export class Program {
  #child;
  #output = "";

  constructor(command, args) {
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        this.#output = (this.#output + text).slice(-4000);
      });
  }

  get pid() {
    return this.#child.pid;
  }

  /** Resolves when it listens on `port`. */
  async accepts(port) {
    for (;;) {
      if (this.#child.exitCode !== null) throw new Error(`the program under test ended:\n${this.#output}`);
      const open = await new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.destroy();
          resolve(true);
        });
        socket.on("error", () => resolve(false));
      });
      if (open) return;
      await sleep(50);
    }
  }

  /** SIGTERM, and SIGKILL when it does not end in ten seconds. */
  async stop() {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(timer);
  }
}
