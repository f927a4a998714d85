/** The vLLM side's own lines (omnilogger), given to the requests that they are about. */
import { ENGINE_ACTIONS, type Role } from "./actions.ts";
import type { LineParser } from "./line.ts";
import type { EngineRecord, ProxyRequest } from "./proxy-request.ts";
import { candidates } from "./request-id.ts";

/** How far a line may lie outside its request's interval: the hosts' clocks differ. */
const SLACK_US = 1e6;

const CHAT = "chatcmpl-";
/** An id whose first candidate (request-id.ts) is what follows the prefix. */
const PLAIN_CHAT = /^chatcmpl-[0-9a-f-]{1,36}$/;

interface Pending {
  readonly records: Map<Role, EngineRecord>;
  readonly sinceMs: number;
}

/** Lines of requests that are not known yet wait here, at most `capacity` requests for `timeoutMs`. */
export class EngineLog {
  readonly #capacity: number;
  readonly #timeoutMs: number;
  readonly #pending = new Map<string, Pending>();
  /** Requests whose lines found no proxy request in time. */
  unmatched = 0;

  constructor(capacity: number, timeoutMs: number) {
    this.#capacity = capacity;
    this.#timeoutMs = timeoutMs;
  }

  /** Takes the line that the parser holds. `live` finds requests by logged id. */
  take(line: LineParser, live: (key: string) => readonly ProxyRequest[], nowMs: number): void {
    if (line.engineAction < 0) return;
    const id = line.idKey();
    // Nearly all lines are of chat requests: what is in front of the id is known, and nothing is behind it.
    if (PLAIN_CHAT.test(id) && this.#give(line, id.slice(CHAT.length), live, nowMs)) return;
    const keys = candidates(Buffer.from(id, "latin1").toString("utf8"));
    for (const key of keys) if (this.#give(line, key, live, nowMs)) return;
    const key = keys.at(-1) as string;
    let pending = this.#pending.get(key);
    if (!pending) {
      pending = { records: new Map(), sinceMs: nowMs };
      this.#pending.set(key, pending);
      if (this.#pending.size > this.#capacity) this.#drop(this.#pending.keys().next().value as string);
    }
    note(pending.records, line);
  }

  #give(line: LineParser, key: string, live: (key: string) => readonly ProxyRequest[], nowMs: number): boolean {
    for (const request of live(key)) {
      if (request.sent || !contains(request, line.timeUs)) continue;
      request.engine ??= new Map();
      note(request.engine, line);
      request.touchedMs = nowMs;
      return true;
    }
    return false;
  }

  /** Gives a request that has just begun, or is about to be sent, the lines that came before it. */
  adopt(request: ProxyRequest): void {
    const pending = this.#pending.get(request.id as string);
    if (!pending) return;
    this.#pending.delete(request.id as string);
    request.engine = pending.records;
  }

  /** Gives up waiting for the proxy's lines. */
  expire(nowMs: number): void {
    for (const [key, pending] of this.#pending) {
      if (nowMs - pending.sinceMs < this.#timeoutMs) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#pending.delete(key);
    this.unmatched++;
  }
}

function contains(request: ProxyRequest, timeUs: number): boolean {
  const start = request.startUs();
  const end = request.ended ? request.lastUs() : undefined;
  return start !== undefined && timeUs >= start - SLACK_US && (end === undefined || timeUs <= end + SLACK_US);
}

function note(records: Map<Role, EngineRecord>, line: LineParser): void {
  let record = records.get(line.role);
  if (!record) {
    record = { at: new Array<number>(ENGINE_ACTIONS.length).fill(0), host: line.roleHost };
    records.set(line.role, record);
  }
  if (record.at[line.engineAction] === 0) record.at[line.engineAction] = line.timeUs;
}
