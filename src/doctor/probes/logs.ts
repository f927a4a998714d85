/** Reads the ends of the logs that the configuration names. */
import type { Plan } from "../../kernel/plan.ts";
import { parseAccessRow } from "../../omni/access-row.ts";
import { RECEIVED } from "../../omni/actions.ts";
import { ACCESS, ACTION, ENGINE, LineParser, NGINX_START } from "../../omni/line.ts";
import { textOf } from "../../omni/request-id.ts";
import type { FileAccess } from "../../receivers/omniproxylog/files.ts";
import { parseGlob } from "../../receivers/omniproxylog/glob.ts";
import { scanPaths } from "../../receivers/omniproxylog/scan.ts";
import type { LogContent, LogFacts, LogFileFacts } from "../facts.ts";

/** Bytes read from the end of a log: at level info about 40 lines, 10 KiB, a request. */
const TAIL_BYTES = 4 * 1024 * 1024;
/** Files of one pattern that are read; all rotated ones tell nothing more. */
const MOST_FILES = 20;
/** How long after a request's row the lines about it may be written (nginx's `buffer=… flush=` of a log). */
const LATE_MS = 10_000;

/** Every entry of `include` of every omni_proxy_log that a pipeline uses. @param lastRequests ids that are kept of each file */
export async function probeLogs(
  plan: Plan,
  files: FileAccess,
  folder: string,
  lastRequests: number,
): Promise<LogFacts[]> {
  const used = new Set(plan.pipelines.flatMap(({ receivers }) => receivers));
  const facts: LogFacts[] = [];
  for (const [id, { factory, configured }] of plan.receivers) {
    if (factory.type !== "omni_proxy_log" || !used.has(id)) continue;
    const { include, exclude } = configured.effective as { include: string[]; exclude: string[] };
    const without = exclude.flatMap((pattern) => globsOf(pattern, folder));
    for (const [index, pattern] of include.entries()) {
      const scan = await scanPaths(globsOf(pattern, folder), without, files);
      const found: ReadLog[] = [];
      for (const path of scan.paths.slice(-MOST_FILES)) found.push(await readLog(path, files, lastRequests));
      facts.push({
        path: ["receivers", id, "include", String(index)],
        pattern,
        unlistable: scan.failed.map(({ folder: name, error }) => ({ folder: name, code: error.code ?? error.message })),
        files: found,
      });
    }
  }
  return withEvidence(facts);
}

function globsOf(pattern: string, folder: string) {
  const globs = parseGlob(pattern, folder);
  return typeof globs === "string" ? [] : globs;
}

interface ReadLog extends LogFileFacts {
  readonly modifiedMs: number;
  readonly newestRequestMs: number;
}

async function readLog(file: string, files: FileAccess, lastRequests: number): Promise<ReadLog> {
  const none = { file, content: undefined, modifiedMs: 0, newestRequestMs: 0 };
  try {
    const open = await files.open(file);
    if (!open) return { ...none, code: "ENOENT" };
    try {
      const { size, modified, isFile } = await open.facts();
      if (!isFile) return { ...none, code: "EISDIR" };
      const length = Math.min(size, TAIL_BYTES);
      const bytes = Buffer.alloc(length);
      const read = await open.read(bytes, 0, length, size - length);
      const { content, newestRequestMs } = readTail(bytes.subarray(0, read), size > length, lastRequests);
      return { file, code: "", content, modifiedMs: Number(modified / 1_000_000n), newestRequestMs };
    } finally {
      await open.close();
    }
  } catch (error) {
    return { ...none, code: (error as NodeJS.ErrnoException).code ?? (error as Error).message };
  }
}

/** An error log that says nothing by itself does when requests went by and it had nothing to say about them. */
function withEvidence(facts: readonly LogFacts[]): LogFacts[] {
  const all = facts.flatMap(({ files }) => files as readonly ReadLog[]);
  const newestRequestMs = Math.max(0, ...all.map((log) => log.newestRequestMs));
  return facts.map((fact) => ({
    ...fact,
    files: (fact.files as readonly ReadLog[]).map(({ modifiedMs, newestRequestMs: _, ...log }) => {
      const { content } = log;
      const isSilent = content && (content.kind === "error_log" || content.kind === "empty") && /error/.test(log.file);
      if (!isSilent || newestRequestMs < modifiedMs + LATE_MS) return log;
      return { ...log, content: { ...content, kind: "error_log" as const, isTelling: true } };
    }),
  }));
}

/**
 * What the lines tell; `isCut` when the first one may lack its beginning.
 * @returns `newestRequestMs` is unix time, of access logs only; 0 when there is none
 */
export function readTail(
  bytes: Buffer,
  isCut: boolean,
  lastRequests: number,
): { content: LogContent; newestRequestMs: number } {
  const parser = new LineParser();
  const counts = { error_log: 0, access_log: 0, omnilogger: 0 };
  const requestIds: string[] = [];
  const upstreams = new Set<string>();
  let infoLines = 0;
  let isTelling = false;
  let newestRequestMs = 0;
  let from = isCut ? bytes.indexOf(10) + 1 : 0;
  while (from < bytes.length) {
    const end = bytes.indexOf(10, from);
    const to = end < 0 ? bytes.length : end;
    const kind = parser.parse(bytes, from, to);
    const line = bytes.subarray(from, to);
    if (kind === ACCESS) {
      counts.access_log++;
      const row = parseAccessRow(line);
      if (row) {
        requestIds.push(textOf(row.id));
        newestRequestMs = row.endUnixUs / 1000;
        upstreams.add(hostOf(row.upstream));
      }
    } else if (kind === ENGINE) counts.omnilogger++;
    else {
      const level = levelOf(line);
      if (level !== "") {
        counts.error_log++;
        if (kind === NGINX_START) {
          infoLines = 0;
          isTelling = true;
        }
        if (level === "info" || level === "debug") infoLines++;
        if (parser.connection >= 0) isTelling = true;
        if (kind === ACTION && parser.action === RECEIVED) requestIds.push(textOf(parser.idKey()));
        for (const host of upstreamsOf(line)) upstreams.add(host);
      }
    }
    if (requestIds.length > lastRequests) requestIds.shift();
    from = to + 1;
  }
  upstreams.delete("");
  const [best] = Object.entries(counts).sort(([, a], [, b]) => b - a) as [keyof typeof counts, number][];
  const kind = bytes.length === 0 ? "empty" : best && best[1] > 0 ? best[0] : "unknown";
  return { content: { kind, infoLines, isTelling, requestIds, upstreams: [...upstreams] }, newestRequestMs };
}

/** nginx's error log: `YYYY/MM/DD HH:MM:SS [level] PID#TID: …`; "" for other lines. */
function levelOf(line: Buffer): string {
  return /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: /.exec(line.toString("latin1", 0, 64))?.[1] ?? "";
}

/** `Add Prefill peer 0 in endpoint[0] -> 10.0.0.2:8000` at the proxy's start. */
function upstreamsOf(line: Buffer): string[] {
  const peer = line.indexOf(" peer ");
  if (peer < 0) return [];
  const found = / peer \d+ in endpoint\[\d+\] -> (\S+)/.exec(line.toString("latin1", peer, peer + 200));
  return found?.[1] === undefined ? [] : [hostOf(found[1])];
}

function hostOf(address: string): string {
  if (address.startsWith("unix:")) return "";
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
