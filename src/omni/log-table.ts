/**
 * From lines to requests. A line with a connection number belongs to that connection's request; a scheduler line, which
 * has none, to the request of the slot that the next line of its process names. Sources are kept apart: connection
 * numbers, slots and clocks are those of one proxy.
 */
import { parseTraceparent } from "../pdata/ids.ts";
import { type AccessRow, parseAccessRow } from "./access-row.ts";
import { D_RUNNING, END, P_FINISHED, POLICIES, RECEIVED, START } from "./actions.ts";
import { BootClock, isUnix } from "./clock.ts";
import {
  ACCESS,
  ACTION,
  ALIAS,
  ALLOCATE,
  ENGINE,
  FAILURE,
  LineParser,
  LOGGED_ID_BYTES,
  MAX_TOKENS,
  NGINX_START,
  POLICY,
  RELEASE_STATS,
  SCHEDULE,
  START_TIME,
  TRACEPARENT,
} from "./line.ts";
import { ProxyRequest } from "./proxy-request.ts";
import { zoneOffsetSeconds } from "./timezone.ts";

/** A boot-clock stamp this far below the newest one means another boot, or an older file. */
const BOOT_FALL_US = 2e6;
/** Sources that are kept; what names new ones without end finds the oldest forgotten. */
const MOST_SOURCES = 10_000;
/** Processes of one source whose scheduler line waits for its next line. */
const MOST_PROCESSES = 1024;
/** Connections that failed and are, so far, no request. */
const MOST_UNNAMED = 10_000;

/** Where lines come from: one proxy's log, as far as the records tell. One object a source: sources are told apart by identity. */
export interface SourceName {
  /** host.name, "" when unknown. */
  readonly host: string;
  /** Names the proxy among others of its host; a file's path without its rotation suffix. */
  readonly path: string;
  /** service.instance.id. */
  readonly instance: string;
  /** "Local" or an IANA name: the zone of the nginx prefix. */
  readonly timezone: string;
}

/** What the table tells as it reads. `request.id` is known in each call. */
export interface LogEvents {
  /** The request's first line that names its id. */
  begun(request: ProxyRequest): void;
  /** Its key is final ("Time received" was read): the moment to see whether it was merged before. */
  keyed(request: ProxyRequest): void;
  /** An access-log row came first and `row` is that request: `begun` was an illusion. */
  absorbed(begun: ProxyRequest, row: ProxyRequest): void;
  /** Something new is known of it. */
  progressed(request: ProxyRequest, action: number): void;
  /** An omnilogger line; the parser's fields are valid during the call. */
  engine(parser: LineParser): void;
  /** vLLM's own id `alias` stands for the request id `id` (binary strings). */
  alias(id: string, alias: string): void;
}

interface Scheduled {
  readonly action: number;
  readonly timeUs: number;
  readonly id: string;
}

class Source {
  readonly name: SourceName;
  clock = new BootClock();
  readonly connections = new Map<number, ProxyRequest>();
  readonly slots = new Map<number, ProxyRequest>();
  /** Scheduler lines that wait for the next line of their process. */
  readonly scheduled = new Map<number, Scheduled>();

  constructor(name: SourceName) {
    this.name = name;
  }
}

export class LogTable {
  readonly #events: LogEvents;
  readonly #parser = new LineParser();
  /** By identity: the caller has one SourceName object a source. */
  readonly #sources = new Map<SourceName, Source>();
  /** Requests that no line has named yet, oldest first: where a failure comes before an access-log row, or of no request at all. */
  readonly #unnamed = new Set<ProxyRequest>();
  /** Requests that are not forgotten yet, by logged id. */
  readonly #byId = new Map<string, ProxyRequest[]>();
  /** The same by connection number and "Time received" stamp: how access-log rows find them. */
  readonly #byReceived = new Map<string, ProxyRequest>();
  #nowMs = 0;
  /** Given to requests that begin. */
  position = 0;

  constructor(events: LogEvents) {
    this.#events = events;
  }

  /** Sources that are known: at most 10,000, those that spoke last. */
  get sources(): number {
    return this.#sources.size;
  }

  /** The requests that are known under this logged id (a binary string), oldest first. */
  byId(id: string): readonly ProxyRequest[] {
    return this.#byId.get(id) ?? [];
  }

  /** The position of the oldest request that no line has named and that had a line since `sinceMs`; Infinity when there is none. */
  oldestUnnamed(sinceMs: number): number {
    for (const request of this.#unnamed) if (request.touchedMs >= sinceMs) return request.position;
    return Number.POSITIVE_INFINITY;
  }

  /** Reads one line of a source. `nowMs` is the process's clock. Returns the line's kind (line.ts). */
  read(source: SourceName, line: Buffer, from: number, to: number, nowMs: number): number {
    const kind = this.#parser.parse(line, from, to);
    this.#nowMs = nowMs;
    if (kind === ENGINE) this.#events.engine(this.#parser);
    else if (kind === ALIAS) this.#events.alias(this.#parser.text, this.#parser.alias);
    else if (kind === ACCESS) this.#row(this.#source(source), line.subarray(from, to));
    else if (kind !== 0 || (this.#parser.connection < 0 && this.#parser.prefixSecond > 0))
      this.#line(this.#source(source), kind);
    return kind;
  }

  /** Lines still belong to the request, but no span finds it: its root was sent in an earlier reading of the log. */
  hide(request: ProxyRequest): void {
    const rest = this.byId(request.id as string).filter((other) => other !== request);
    if (rest.length > 0) this.#byId.set(request.id as string, rest);
    else this.#byId.delete(request.id as string);
  }

  /** Forgets a request: no line and no span finds it any more. */
  forget(request: ProxyRequest): void {
    for (const source of this.#sources.values()) {
      if (source.connections.get(request.connection) === request) source.connections.delete(request.connection);
      if (source.slots.get(request.slot) === request) source.slots.delete(request.slot);
    }
    if (request.keyTime !== "" && this.#byReceived.get(receivedKey(request.connection, request.keyTime)) === request) {
      this.#byReceived.delete(receivedKey(request.connection, request.keyTime));
    }
    this.#unnamed.delete(request);
    if (request.id !== undefined) this.hide(request);
  }

  #source(name: SourceName): Source {
    const known = this.#sources.get(name);
    // Order matters only when the oldest may soon have to go.
    if (known && this.#sources.size < MOST_SOURCES / 2) return known;
    const source = known ?? new Source(name);
    this.#sources.delete(name);
    this.#sources.set(name, source);
    if (this.#sources.size > MOST_SOURCES) this.#sources.delete(this.#sources.keys().next().value as SourceName);
    return source;
  }

  #line(source: Source, kind: number): void {
    const line = this.#parser;
    if (line.connection < 0) this.#schedulerLine(source, kind);
    else if (kind === ACTION) this.#action(source);
    else this.#connectionLine(source, kind);
  }

  /** Lines without a connection number: the scheduler's, and nginx's own. */
  #schedulerLine(source: Source, kind: number): void {
    const line = this.#parser;
    const waiting = source.scheduled.get(line.pid);
    if (waiting) {
      source.scheduled.delete(line.pid);
      this.#place(source, waiting, kind === SCHEDULE ? line.number : -1);
    }
    if (kind === NGINX_START) {
      for (const [, left] of source.scheduled) this.#place(source, left, -1);
      source.scheduled.clear();
      source.slots.clear();
      // Connections stay: while a restart is graceful, the old workers' last requests end below this line. A connection
      // number that starts again is seen by its first lines (#current).
    } else if (kind === ACTION) {
      source.scheduled.set(line.pid, { action: line.action, timeUs: line.timeUs, id: line.idKey() });
      if (source.scheduled.size > MOST_PROCESSES) {
        const [[pid, oldest]] = source.scheduled as unknown as [[number, Scheduled]];
        source.scheduled.delete(pid);
        this.#place(source, oldest, -1);
      }
    }
  }

  /** Gives a scheduler action to the request in `slot`, else to the oldest open request of that id that lacks it. */
  #place(source: Source, scheduled: Scheduled, slot: number): void {
    let request = source.slots.get(slot);
    if (request?.id !== scheduled.id)
      request = this.byId(scheduled.id).find((other) => other.open && !other.has(scheduled.action));
    if (request?.note(scheduled.action, scheduled.timeUs)) this.#progress(request, scheduled.action);
  }

  #progress(request: ProxyRequest, action: number): void {
    request.touchedMs = this.#nowMs;
    this.#events.progressed(request, action);
    if (action === END && request.repeated) this.forget(request);
  }

  #begin(source: Source, connection: number): ProxyRequest {
    const { host, instance } = source.name;
    const request = new ProxyRequest(connection, source.clock, host, instance, this.#nowMs);
    request.position = this.position;
    source.connections.set(connection, request);
    this.#unnamed.add(request);
    if (this.#unnamed.size > MOST_UNNAMED) this.forget(this.#unnamed.keys().next().value as ProxyRequest);
    return request;
  }

  /**
   * The connection's request, a new one where it has ended or `isNew` says that the line belongs to the next. One whose
   * access-log row came first has an end from the start, and its lines are still to come.
   */
  #current(source: Source, isNew: (request: ProxyRequest) => boolean): ProxyRequest {
    const request = source.connections.get(this.#parser.connection);
    return request === undefined || (request.ended && !request.fromRow) || isNew(request)
      ? this.#begin(source, this.#parser.connection)
      : request;
  }

  #connectionLine(source: Source, kind: number): void {
    const line = this.#parser;
    switch (kind) {
      case TRACEPARENT: {
        const request = this.#current(source, hasReceived);
        const parent = parseTraceparent(line.text);
        if (parent)
          request.traceparent ??= {
            traceId: parent.traceId,
            spanId: parent.spanId,
            sampled: (parent.flags & 1) === 1,
            injected: line.injected,
          };
        break;
      }
      case START_TIME:
        this.#current(source, hasReceived).injectedStartUs ||= line.timeUs;
        break;
      case ALLOCATE: {
        const request = this.#current(source, (known) => known.slot >= 0 || hasReceived(known));
        request.slot = line.number;
        source.slots.set(line.number, request);
        break;
      }
      case POLICY:
        this.#current(source, hasReceived).policy = POLICIES[line.number];
        break;
      case FAILURE: {
        // A probe's connection fails too; only one that went to an upstream is, or will be, a request.
        const known = source.connections.get(line.connection);
        if (!known && line.upstream() === "") break;
        const request = known ?? this.#begin(source, line.connection);
        request.addFailure({
          failure: line.failure,
          status: line.number,
          text: line.text,
          afterDecodeBegan: request.has(D_RUNNING),
          subrequest: line.isSubrequest(),
        });
        if (request.id !== undefined) this.#progress(request, -1);
        break;
      }
      case RELEASE_STATS: {
        const request = source.connections.get(line.connection);
        if (!request) break;
        request.promptTokensEstimate = line.number;
        request.upstreamReads = line.second;
        break;
      }
      case MAX_TOKENS: {
        const request = source.connections.get(line.connection);
        if (request?.open) request.maxTokens = line.number;
        break;
      }
      default:
    }
  }

  #action(source: Source): void {
    const line = this.#parser;
    const { action } = line;
    let request = this.#current(
      source,
      (known) => (action === START || action === RECEIVED) && (known.has(action) || known.has(RECEIVED)),
    );
    if (request.id === undefined) request = this.#name(source, request);
    else if (!line.idIs(request.id)) return; // not this connection's request: a damaged line
    if (action === RECEIVED) request = this.#received(source, request);
    if (action !== START) this.#watchClock(source, request);
    if (action === P_FINISHED && request.prefillAddress === "") request.prefillAddress = line.upstream();
    if (action === D_RUNNING && request.decodeAddress === "") request.decodeAddress = line.upstream();
    if (request.fromRow && action === END) {
      // The row told a rounded end; the log has the true one.
      request.at[END] = line.timeUs;
      request.fromRow = false;
      this.#progress(request, action);
    } else if (request.note(action, line.timeUs)) this.#progress(request, action);
  }

  /** The first line that names the id. */
  #name(source: Source, request: ProxyRequest): ProxyRequest {
    const line = this.#parser;
    request.id = line.idKey();
    request.keyTime = line.timeText();
    request.client = line.client();
    request.authority = line.authority();
    const head = line.request();
    if (head) {
      request.method = head.method;
      request.path = head.path;
    }
    source.connections.set(line.connection, request);
    this.#index(request);
    this.#events.begun(request);
    return request;
  }

  #index(request: ProxyRequest): void {
    const id = request.id as string;
    this.#unnamed.delete(request);
    const same = this.#byId.get(id);
    if (same) same.push(request);
    else this.#byId.set(id, [request]);
  }

  /** "Time received": the stamp that names the request, half of a clock pair, and where an access-log row that came first is met. */
  #received(source: Source, request: ProxyRequest): ProxyRequest {
    const line = this.#parser;
    const key = receivedKey(line.connection, line.timeText());
    const early = this.#byReceived.get(key);
    const id = request.id as string;
    // Of two X-Request-Id headers the row has both ("a, b"), the log the first.
    if (early && early !== request && (early.id === id || early.id?.startsWith(`${id}, `))) {
      // Its access-log row was read first: go on with that request, whose identity may have been given.
      if (request.has(START)) early.note(START, request.at[START] as number);
      early.slot = request.slot;
      early.policy = request.policy;
      early.traceparent ??= request.traceparent;
      early.injectedStartUs = request.injectedStartUs;
      early.method = request.method;
      early.path = request.path;
      early.client = request.client;
      early.authority = request.authority;
      this.forget(request);
      if (early.id !== id) {
        this.hide(early);
        early.rename(id);
        this.#index(early);
      }
      this.#events.absorbed(request, early);
      if (request.slot >= 0) source.slots.set(request.slot, early);
      source.connections.set(line.connection, early);
      this.#byReceived.set(key, early);
      if (request.has(START)) this.#events.progressed(early, START);
      return this.#pair(source, early);
    }
    request.keyTime = line.timeText();
    this.#byReceived.set(key, request);
    this.#events.keyed(request);
    return this.#pair(source, request);
  }

  #pair(source: Source, request: ProxyRequest): ProxyRequest {
    const receivedUs = this.#parser.timeUs;
    if (isUnix(receivedUs)) return request;
    const stamps = [request.has(START) ? (request.at[START] as number) : 0, request.injectedStartUs];
    for (const wallUs of stamps.filter((stamp) => stamp > 0)) {
      if (request.clock === source.clock && source.clock.isStep(wallUs, receivedUs)) {
        // The wall clock was set. Requests that began before keep the time that they had.
        source.clock = new BootClock();
        request.clock = source.clock;
      }
      request.clock.addPair(wallUs, receivedUs, "line");
    }
    return request;
  }

  /** Watches for a new boot, and narrows the clock by the prefix's second. */
  #watchClock(source: Source, request: ProxyRequest): void {
    const { timeUs, prefixSecond, action } = this.#parser;
    const { clock } = source;
    if (isUnix(timeUs)) {
      request.clock.newestUs = Math.max(request.clock.newestUs, timeUs);
      return;
    }
    const second = prefixSecond - zoneOffsetSeconds(prefixSecond, source.name.timezone);
    if (timeUs < clock.newestUs - BOOT_FALL_US && action === RECEIVED && !clock.fits(second, timeUs))
      source.clock = new BootClock();
    request.clock.newestUs = Math.max(request.clock.newestUs, timeUs);
    if (prefixSecond > 0) request.clock.addPrefix(second, timeUs);
  }

  #row(source: Source, line: Buffer): void {
    const row = parseAccessRow(line);
    if (!row) return;
    const request = this.#byReceived.get(receivedKey(row.connection, row.receivedText)) ?? this.#fromRow(source, row);
    request.status = row.status;
    if (!isUnix(row.receivedUs)) request.clock.addPair(row.endUnixUs - row.requestUs, row.receivedUs, "row");
    if (
      row.id.length > LOGGED_ID_BYTES &&
      row.id.startsWith(request.id as string) &&
      request.id?.length === LOGGED_ID_BYTES
    )
      request.fullId = row.id;
    if (request.decodeAddress === "" && request.has(D_RUNNING)) request.decodeAddress = row.upstream;
    this.#progress(request, request.fromRow ? END : -1);
  }

  /** A request that only the access log tells of: log level `notice`, or its other lines are still to come. */
  #fromRow(source: Source, row: AccessRow): ProxyRequest {
    const known = source.connections.get(row.connection);
    const request =
      known !== undefined && known.id === undefined && known.open ? known : this.#begin(source, row.connection);
    request.fromRow = true;
    request.id = row.id.slice(0, LOGGED_ID_BYTES);
    request.keyTime = row.receivedText;
    request.note(RECEIVED, row.receivedUs);
    for (const [action, afterUs] of row.at) request.noteRow(action, row.receivedUs + afterUs);
    // `latency` ends with the last token; the request ends when the row is written, which is rounded down to a millisecond.
    const latency = row.at.get(END);
    request.at[END] = isUnix(row.receivedUs) ? Math.max(row.endUnixUs, row.receivedUs + (latency ?? 0)) : row.endUnixUs;
    this.#byReceived.set(receivedKey(row.connection, row.receivedText), request);
    this.#index(request);
    this.#events.begun(request);
    this.#events.keyed(request);
    return request;
  }
}

function hasReceived(request: ProxyRequest): boolean {
  return request.has(RECEIVED);
}

function receivedKey(connection: number, text: string): string {
  return `${connection} ${text}`;
}
