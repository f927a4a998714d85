/**
 * One process a directory. The lock is a Unix socket in it: the kernel closes it with the process, however that ends, so
 * unlike a file with a pid in it it is never stale for long, and it holds between containers that share a volume. It
 * answers with the pid of its owner.
 */
import { lstat, open, rename, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import type { Clock } from "../../telemetry/clock.ts";
import { sleep } from "../../telemetry/clock.ts";

const NAME = "lock";
/** The kernel's sun_path, without the zero byte at its end. */
const LONGEST_PATH = 107;
const ANSWER_MS = 1000;
const POLL_MS = 50;

/** Held until `release`. */
export interface DirectoryLock {
  /** False when somebody took the directory away from under this process. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

/**
 * Takes the lock; waits up to `timeoutMs` for one that another process holds, such as the one that this one replaces.
 * @throws Error naming the other process.
 */
export async function lockDirectory(directory: string, timeoutMs: number, clock: Clock): Promise<DirectoryLock> {
  const place = await socketPlace(directory);
  try {
    const until = clock.monotonic() + timeoutMs;
    for (;;) {
      const server = await listen(place.path);
      if (server) {
        const { ino } = await stat(place.path);
        return {
          isHeld: async () => (await stat(`${directory}/${NAME}`).catch(() => undefined))?.ino === ino,
          async release() {
            // Closing a server removes its socket file.
            await new Promise<void>((resolve) => server.close(() => resolve()));
            await place.release();
          },
        };
      }
      const owner = await ownerOf(place.path);
      if (owner === undefined) {
        await removeStale(place.path);
        continue;
      }
      if (clock.monotonic() >= until)
        throw new Error(
          `${directory} is in use by process ${owner}: every process needs a directory of its own; stop the other one, or change file_storage::directory`,
        );
      await sleep(clock, POLL_MS);
    }
  } catch (error) {
    await place.release();
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new Error(
      `directory: cannot lock ${directory} (${message}): it must be on a file system that has Unix sockets, such as a local disk`,
      { cause: error },
    );
  }
}

/** A path to the socket that is short enough: a long one goes through an open handle of the directory (Linux). */
async function socketPlace(directory: string): Promise<{ path: string; release(): Promise<void> }> {
  const path = `${directory}/${NAME}`;
  if (Buffer.byteLength(path) <= LONGEST_PATH) return { path, release: async () => {} };
  const handle = await open(directory, "r");
  return { path: `/proc/self/fd/${handle.fd}/${NAME}`, release: () => handle.close() };
}

/** Undefined when there is a socket already. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.end(`${process.pid}\n`);
    });
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
    );
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** The pid of the process that holds the socket, "(unknown)" when it does not say; undefined when nobody does. */
function ownerOf(path: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(path);
    const finish = (owner: string | undefined): void => {
      socket.destroy();
      resolve(owner);
    };
    socket.setEncoding("utf8").setTimeout(ANSWER_MS, () => finish("(unknown)"));
    socket.on("data", (text: string) => {
      answer += text;
    });
    socket.on("end", () => finish(answer.trim() || "(unknown)"));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT" || error.code === "ENOTSOCK") finish(undefined);
      else reject(error);
    });
  });
}

/**
 * Removes a socket that nobody answers on. It is first renamed, which one of several processes can do, and looked at
 * once more: when another process has put its own there in between, it gets it back.
 */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found && !found.isSocket()) throw new Error(`${path} is in the way: it is no lock of this program; move it away`);
  const aside = `${path}.${process.pid}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if ((await ownerOf(aside)) === undefined) await rm(aside, { force: true });
  else await rename(aside, path);
}
