/** `omnishim collect`: logs and clocks of many hosts, by the system's ssh, into one folder. */
import { mkdir, readFile } from "node:fs/promises";
import { Problem, reasonOf } from "../problem.ts";
import { type ByteCount, collectHost, type HostOptions, type HostReport } from "./host.ts";
import { remotePath } from "./remote-script.ts";
import { isUser, parseAddress, parseServerList, type Server } from "./server-list.ts";
import type { SshOptions } from "./ssh.ts";
import { Store } from "./store.ts";

export interface CollectOptions {
  /** Path of the server list. */
  readonly servers: string;
  /** At the other side. */
  readonly traces: string;
  readonly log: string;
  /** The folder that gets everything. */
  readonly target: string;
  readonly ssh: SshOptions;
  /** Hosts at once. */
  readonly jobs: number;
  readonly stallTimeoutMs: number;
  readonly sinceMs: number | undefined;
  readonly dryRun: boolean;
}

export interface CollectReport {
  readonly target: string;
  readonly dryRun: boolean;
  readonly hosts: readonly HostReport[];
  readonly failed: number;
}

/** Shows how far it is. */
export interface CollectProgress {
  show(hostsDone: number, hosts: number, bytes: number, expected: number): void;
  clear(): void;
}

/** The list is read at once. */
const MOST_LIST = 1024 * 1024;

/**
 * Collects from every host, `jobs` at once. A host that fails stops no other. Files get their names when they are whole;
 * what was begun is continued by the next run. @throws Problem; the reason of `stop` when that aborts
 */
export async function collect(
  options: CollectOptions,
  progress: CollectProgress,
  stop?: AbortSignal,
): Promise<CollectReport> {
  checkSsh(options.ssh);
  const servers = await readServers(options.servers);
  const hostOptions: HostOptions = {
    paths: { traces: checkedPath(options.traces), log: checkedPath(options.log) },
    ssh: options.ssh,
    stallTimeoutMs: options.stallTimeoutMs,
    sinceMs: options.sinceMs,
    dryRun: options.dryRun,
  };
  if (!options.dryRun) await makeTarget(options.target);
  const store = new Store(options.target);
  const hosts = new Array<HostReport>(servers.length);
  let next = 0;
  let done = 0;
  let bytes = 0;
  let expected = 0;
  const show = (): void => progress.show(done, servers.length, bytes, expected);
  const count: ByteCount = {
    expect(more) {
      expected += more;
    },
    came(more) {
      bytes += more;
      show();
    },
  };
  const work = async (): Promise<void> => {
    for (let index = next++; index < servers.length; index = next++) {
      stop?.throwIfAborted();
      hosts[index] = await collectHost(servers[index] as Server, hostOptions, store, count, stop);
      done++;
      show();
    }
  };
  try {
    show();
    const ends = await Promise.allSettled(Array.from({ length: Math.min(options.jobs, servers.length) }, work));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  } finally {
    progress.clear();
  }
  const failed = hosts.filter(({ state }) => state === "failed").length;
  return { target: options.target, dryRun: options.dryRun, hosts, failed };
}

async function readServers(path: string): Promise<Server[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new Problem(`${path}: cannot be read (${reasonOf(error)}); give a file with one [user@]host a line`);
  }
  if (text.length > MOST_LIST) throw new Problem(`${path}: too long for a server list`);
  return parseServerList(text, path);
}

async function makeTarget(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw new Problem(`${path}: cannot be made (${reasonOf(error)})`);
  }
}

function checkSsh({ user, jump }: SshOptions): void {
  if (user !== undefined && !isUser(user)) throw new Problem(`--user: "${user}" is no user's name`);
  if (jump === undefined) return;
  for (const hop of jump.split(","))
    if (!parseAddress(hop)) throw new Problem(`--jump: "${hop}" is no [user@]host[:port]`);
}

function checkedPath(path: string): string {
  if (path === "" || path.includes("\0")) throw new Problem(`"${path}" is no path`);
  return remotePath(path);
}
