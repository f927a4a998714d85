/** Who holds a TCP port, from Linux's /proc: only for the error message of a failed bind. */
import { readdir, readFile, readlink } from "node:fs/promises";

/** The process that listens on a port. */
export interface Holder {
  readonly pid: number;
  /** Its command line, shortened. */
  readonly command: string;
}

/** Longest command line shown. */
const COMMAND_LENGTH = 120;

/** LISTEN in the `st` column of /proc/net/tcp (include/net/tcp_states.h). */
const LISTEN = "0A";

/**
 * Inodes of the sockets that listen on `port`, from the text of /proc/net/tcp or tcp6: columns are
 * sl, local_address, rem_address, st, tx:rx, tr:when, retrnsmt, uid, timeout, inode.
 */
export function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[1]?.endsWith(suffix) && columns[3] === LISTEN)
    .map((columns) => columns[9] ?? "");
}

/** The process that listens on TCP port `port`; undefined where /proc is missing or not readable, or nobody does. Never throws. */
export async function findHolder(port: number, proc = "/proc"): Promise<Holder | undefined> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`${proc}/net/${name}`, "utf8").catch(() => "")),
  );
  const sockets = new Set(tables.flatMap((table) => listeningInodes(table, port)).map((inode) => `socket:[${inode}]`));
  if (sockets.size === 0) return undefined;
  const pids = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const fds = await readdir(`${proc}/${pid}/fd`).catch(() => []);
    for (const fd of fds) {
      const target = await readlink(`${proc}/${pid}/fd/${fd}`).catch(() => "");
      if (sockets.has(target)) return { pid: Number(pid), command: await commandOf(`${proc}/${pid}`) };
    }
  }
  return undefined;
}

async function commandOf(folder: string): Promise<string> {
  const raw = await readFile(`${folder}/cmdline`, "utf8").catch(() => "");
  const command = raw.replaceAll("\0", " ").trim();
  return command.length > COMMAND_LENGTH ? `${command.slice(0, COMMAND_LENGTH - 3)}...` : command;
}

/** "pid 4711 (java -jar x.jar) listens on port 4317", or how to find out. */
export function describeHolder(holder: Holder | undefined, port: number): string {
  if (!holder) return `another process holds port ${port} (to find it: ss -ltnp 'sport = :${port}')`;
  return `pid ${holder.pid}${holder.command ? ` (${holder.command})` : ""} listens on port ${port}`;
}
