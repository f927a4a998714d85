/** The log lines of a request, found in a second look at the logs. */

import { ACCESS, ACTION, ENGINE, LineParser, SCHEDULE } from "../../omni/line.ts";
import type { ProxyRequest } from "../../omni/proxy-request.ts";
import { candidates } from "../../omni/request-id.ts";
import type { FoundLog } from "../files/find-logs.ts";
import type { ReaderNotes } from "../files/line-reader.ts";
import { LogStream } from "../files/log-stream.ts";
import { readInOrder } from "../streams.ts";

/** A line of a log that is about a request. */
export interface RequestLine {
  /** The log's name below the folder. */
  readonly log: string;
  readonly text: string;
}

export interface RequestLines {
  readonly lines: RequestLine[];
  /** Lines beyond MOST_LINES. */
  more: number;
}

/** Lines kept of one request. */
const MOST_LINES = 400;
/** Bytes kept of one line. */
const MOST_BYTES = 600;
/** Lines this far outside the request's time are not its: connection numbers come again. nginx's times are whole seconds. */
const SLACK_MS = 2_000;
const LIMITS = { chunkBytes: 256 * 1024, maxLineBytes: 1024 * 1024 };

interface Wanted {
  readonly request: ProxyRequest;
  readonly fromMs: number;
  readonly toMs: number;
  readonly found: RequestLines;
}

/** The lines of each request, in order of time. Reads all logs once more. */
export async function linesOf(
  requests: readonly ProxyRequest[],
  logs: readonly FoundLog[],
  notes: ReaderNotes,
): Promise<Map<ProxyRequest, RequestLines>> {
  const wanted = requests.map(
    (request): Wanted => ({
      request,
      fromMs: (request.startUs() ?? 0) / 1000 - SLACK_MS,
      toMs: (request.lastUs() ?? 0) / 1000 + SLACK_MS,
      found: { lines: [], more: 0 },
    }),
  );
  const parser = new LineParser();
  // By log: the process whose scheduler line was the request's, so that the line behind it is too.
  const scheduled = new Map<string, { readonly pid: number; readonly entry: Wanted }>();
  const streams = logs.map(
    (log) =>
      new LogStream(log, LIMITS, notes, (source, bytes, from, to, ms) => {
        const kind = parser.parse(bytes, from, to);
        const keep = (entry: Wanted): void => {
          if (entry.found.lines.length === MOST_LINES) entry.found.more++;
          else
            entry.found.lines.push({
              log: source.path,
              text: bytes.toString("utf8", from, Math.min(to, from + MOST_BYTES)),
            });
        };
        const behind = scheduled.get(source.path);
        if (behind && parser.connection < 0 && parser.prefixSecond > 0 && parser.pid === behind.pid) {
          scheduled.delete(source.path);
          if (kind === SCHEDULE) keep(behind.entry);
        }
        for (const entry of wanted) {
          if (
            ms < entry.fromMs ||
            ms > entry.toMs ||
            !belongs(parser, kind, entry.request, source.host, bytes, from, to)
          )
            continue;
          keep(entry);
          if (kind === ACTION && parser.connection < 0) scheduled.set(source.path, { pid: parser.pid, entry });
        }
      }),
  );
  await readInOrder(streams, 1_000, () => undefined);
  return new Map(wanted.map(({ request, found }) => [request, found]));
}

function belongs(
  parser: LineParser,
  kind: number,
  request: ProxyRequest,
  host: string,
  bytes: Buffer,
  from: number,
  to: number,
): boolean {
  const id = request.id ?? "";
  if (kind === ACCESS) {
    const row = bytes.toString("latin1", from, to);
    return row.includes(`connection_info:"${request.connection}:`) && row.includes(`rcved:"${request.keyTime}"`);
  }
  if (kind === ENGINE) return candidates(Buffer.from(parser.idKey(), "latin1").toString("utf8")).includes(id);
  if (request.host !== host) return false;
  if (parser.connection >= 0) return parser.connection === request.connection && (kind !== ACTION || parser.idIs(id));
  // A scheduler line: the stamp tells which of several requests with this id it is about.
  return kind === ACTION && parser.idIs(id) && request.at[parser.action] === parser.timeUs;
}
