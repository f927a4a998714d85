/** Which logs a folder holds, whose they are and in which order their files are read. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import type { HostClocks } from "../../omni/clock.ts";
import { withoutRotation } from "../../omni/rotation.ts";
import { zoneOffsetSeconds } from "../../omni/timezone.ts";
import { readHostClocks } from "../clocks/host-clocks.ts";
import { Problem, reasonOf } from "../problem.ts";
import type { DataFile } from "./chunk-source.ts";
import { isRecordName, PART } from "./collected.ts";
import { LineReader } from "./line-reader.ts";
import { isNginxLine, LineTimes, prefixAhead } from "./line-time.ts";

/** One log: a chain of files that rotation made of it, oldest first. */
export interface FoundLog {
  /** host.name, from the layout that collect_logs.sh makes (`logs_<IP>/`, `nginx_<IP>.log`); "" where the path does not tell. */
  readonly host: string;
  /** Path below the folder, rotation and compression suffixes taken off. */
  readonly name: string;
  readonly files: readonly DataFile[];
  /** The zone of nginx's prefix, as the log itself tells it; undefined where it does not. */
  readonly zone: string | undefined;
  /** Seconds by which the prefix is ahead of UTC at a local time (unix seconds read as if UTC). */
  readonly aheadSeconds: (localAsUtc: number) => number;
}

export interface FoundLogs {
  readonly logs: readonly FoundLog[];
  /** Files that were left out, and why. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
  /** Of all logs, on disk. */
  readonly bytes: number;
  /** What `omnishim collect` wrote of the hosts' clocks. */
  readonly clocks: HostClocks;
}

/** How much of a file is looked at to see whether it is a log, and of which zone. */
const SNIFF_BYTES = 256 * 1024;
const SNIFF = { chunkBytes: SNIFF_BYTES, maxLineBytes: SNIFF_BYTES };
/** Names that are a log's whatever stands in them. */
const LOG_NAME = /\.log$|^(?:access|error)_log$/i;
const GZIP = /\.gz$/i;
const OTHER_COMPRESSION = /\.(?:xz|zst|bz2|lz4|zip|tgz|tar)$/i;
/** nginx_10.0.0.1.log; and the names that an own copy of the proxy's log has. */
const NGINX_OF_HOST = /^nginx_(?:(?:error|access)_)?(?!error$|access$)(.+)$/;
const FOLDER_OF_HOST = /^logs_(.+)$/;
/** Unix time and prefix differ by a zone when what is left is less than this many seconds. */
const ZONE_SLACK = 2;
const QUARTER_HOUR = 900;

interface Candidate {
  readonly file: DataFile;
  readonly name: string;
  readonly bytes: number;
}

/**
 * Looks through `folder` (or at one file) for logs. `timezone`: "auto" lets each log tell its zone and falls back to the
 * process's own.
 * @throws Problem when there is no such folder
 */
export async function findLogs(folder: string, timezone: string): Promise<FoundLogs> {
  const skipped: { path: string; reason: string }[] = [];
  const { candidates, records } = await list(folder, skipped);
  const chains = new Map<string, { host: string; name: string; members: { file: DataFile; sniffed: Sniffed }[] }>();
  let bytes = 0;
  for (const { file, name, bytes: size } of candidates) {
    const stem = withoutRotation(name);
    const sniffed = await sniff(file, timezone);
    if (typeof sniffed === "string") skipped.push({ path: file.path, reason: sniffed });
    else if (sniffed.lines === 0 && !LOG_NAME.test(basename(stem)))
      skipped.push({ path: file.path, reason: "no line that Omni Proxy or vLLM's omnilogger writes" });
    else {
      bytes += size;
      const host = hostOf(stem);
      const key = `${host}\n${stem}`;
      const chain = chains.get(key) ?? { host, name: stem, members: [] };
      chain.members.push({ file, sniffed });
      chains.set(key, chain);
    }
  }
  const logs = [...chains.values()].map(({ host, name, members }): FoundLog => {
    members.sort((a, b) => a.sniffed.firstMs - b.sniffed.firstMs || (a.file.path < b.file.path ? 1 : -1));
    const { zone, aheadSeconds } = zoneOf(
      members.map(({ sniffed }) => sniffed),
      timezone,
    );
    return { host, name, files: members.map(({ file }) => file), zone, aheadSeconds };
  });
  return { logs, skipped, bytes, clocks: await readHostClocks(records) };
}

async function list(
  folder: string,
  skipped: { path: string; reason: string }[],
): Promise<{ candidates: Candidate[]; records: string[] }> {
  let top: Awaited<ReturnType<typeof stat>>;
  try {
    top = await stat(folder);
  } catch (error) {
    throw new Problem(`${folder}: cannot be read (${reasonOf(error)}); give the folder that holds the logs`);
  }
  const found: Candidate[] = [];
  const records: string[] = [];
  const add = (path: string, name: string, size: number): void => {
    if (isRecordName(basename(name))) records.push(path);
    else if (name.endsWith(PART)) skipped.push({ path, reason: "not collected whole; run omnishim collect again" });
    else if (OTHER_COMPRESSION.test(name))
      skipped.push({ path, reason: "compressed; gzip is read as it is, unpack others" });
    else found.push({ file: { path, gzip: GZIP.test(name) }, name, bytes: size });
  };
  if (top.isFile()) {
    add(folder, basename(folder), top.size);
    return { candidates: found, records };
  }
  const seen = new Set<string>();
  const walk = async (dir: string): Promise<void> => {
    const real = await realpath(dir);
    if (seen.has(real)) return;
    seen.add(real);
    for (const entry of (await readdir(dir)).sort()) {
      const path = join(dir, entry);
      try {
        const info = await stat(path);
        if (info.isDirectory()) await walk(path);
        else if (info.isFile() && info.size > 0) add(path, relative(folder, path).split(sep).join("/"), info.size);
      } catch (error) {
        skipped.push({ path, reason: reasonOf(error) });
      }
    }
  };
  await walk(folder);
  return { candidates: found, records };
}

/** The host that the layout of collect_logs.sh names. */
function hostOf(stem: string): string {
  const parts = stem.split("/");
  const file = (parts.pop() as string).replace(/\.(?:log|txt)$/i, "");
  const named = NGINX_OF_HOST.exec(file)?.[1];
  if (named !== undefined) return named;
  for (const part of parts.reverse()) {
    const host = FOLDER_OF_HOST.exec(part)?.[1];
    if (host !== undefined) return host;
  }
  return "";
}

interface Sniffed {
  /** Lines that tell a time, among those looked at. */
  readonly lines: number;
  /** The first of them; Infinity where there is none. In the process's zone, if it is nginx's. */
  readonly firstMs: number;
  /** How far nginx's prefix is ahead of unix time, where a line tells both. */
  readonly ahead: number | undefined;
}

async function sniff(file: DataFile, timezone: string): Promise<Sniffed | string> {
  let damage: string | undefined;
  const reader = new LineReader([file], SNIFF, {
    damaged: (_, reason) => {
      damage = reason;
    },
    cut: () => undefined,
    read: () => undefined,
  });
  const times = new LineTimes(aheadOf(timezone === "auto" ? "Local" : timezone));
  let lines = 0;
  let firstMs = Number.POSITIVE_INFINITY;
  let ahead: number | undefined;
  try {
    if (!(await reader.fill())) return damage ?? "empty";
    while (reader.next()) {
      const ms = times.read(reader.bytes, reader.from, reader.to);
      if (Number.isNaN(ms)) continue;
      lines++;
      firstMs = Math.min(firstMs, ms);
      if (ahead === undefined && isNginxLine(reader.bytes, reader.from, reader.to))
        ahead = prefixAhead(reader.bytes, reader.from, reader.to);
    }
  } finally {
    await reader.close();
  }
  return { lines, firstMs, ahead };
}

function aheadOf(zone: string): (localAsUtc: number) => number {
  return (localAsUtc) => zoneOffsetSeconds(localAsUtc, zone);
}

/**
 * The zone of a log's prefix. What the log tells is a number of seconds: where that is what the process's own zone says,
 * the zone is taken, which knows of summer time; else the number stands for the zone.
 */
function zoneOf(sniffed: readonly Sniffed[], timezone: string): Pick<FoundLog, "zone" | "aheadSeconds"> {
  if (timezone !== "auto") return { zone: timezone, aheadSeconds: aheadOf(timezone) };
  const told = sniffed.find(({ ahead }) => ahead !== undefined);
  if (told?.ahead === undefined) return { zone: undefined, aheadSeconds: aheadOf("Local") };
  const { ahead, firstMs } = told;
  const quarter = Math.round(ahead / QUARTER_HOUR) * QUARTER_HOUR;
  // A log whose clocks disagree by no zone's offset is read in order of what its lines tell, and keeps no zone.
  if (Math.abs(ahead - quarter) > ZONE_SLACK) return { zone: undefined, aheadSeconds: () => ahead };
  if (zoneOffsetSeconds(firstMs / 1000 + quarter, "Local") === quarter)
    return { zone: "Local", aheadSeconds: aheadOf("Local") };
  return { zone: offsetName(quarter), aheadSeconds: () => quarter };
}

/** 28800 -> "+08:00". */
function offsetName(seconds: number): string {
  const minutes = Math.abs(seconds) / 60;
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${seconds < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
