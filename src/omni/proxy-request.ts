/** One request as Omni Proxy's log shows it: what was seen, not yet what is sent. */
import {
  D_RUNNING,
  D_RUNNING_SPAN,
  END,
  P_FINISHED,
  P_RUNNING,
  P_RUNNING_SPAN,
  type Policy,
  PROXY_ACTIONS,
  RECEIVED,
  type Role,
  START,
} from "./actions.ts";
import { type BootClock, type ClockEstimate, isUnix } from "./clock.ts";
import { type RequestKey, spanIdOf } from "./identity.ts";
import type { Failure } from "./line.ts";

/** Not seen. */
const NEVER = -1;

/** A valid W3C traceparent of the request and who made it. */
export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
  /** True: the proxy made it up, so nobody else emits its span. */
  readonly injected: boolean;
}

/** Which trace the request is, and what its root is called there. Given once, then kept. */
export interface Identity {
  readonly traceId: string;
  readonly rootSpanId: string;
  /** "" for none. */
  readonly rootParentId: string;
}

/** What is kept of a vLLM span that joined. */
export interface JoinedSpan {
  readonly spanId: string;
  readonly role: Role | undefined;
  readonly service: string | undefined;
  readonly completionTokens: number | undefined;
  readonly promptTokens: number | undefined;
  readonly model: string | undefined;
}

/** A failure line: what, the status it named (0: none), its text, how many tokens had been read, and whether it was about prefill. */
export interface FailureLine {
  readonly failure: Failure;
  readonly status: number;
  readonly text: string;
  readonly afterDecodeBegan: boolean;
  readonly subrequest: boolean;
}

/** The vLLM side's own stamps (unix microseconds by ENGINE_ACTIONS index, 0 where not seen) and its host. */
export interface EngineRecord {
  readonly at: number[];
  readonly host: string;
}

/** A failure's lines beyond this are not kept; the first ones tell. */
const MOST_FAILURES = 8;
/** More spans than this under one request are passed on and no longer remembered one by one. */
const MOST_JOINED = 64;

export class ProxyRequest {
  /** Stamps by action index, microseconds as logged; NEVER where the action was not seen. */
  readonly at: number[] = new Array<number>(PROXY_ACTIONS.length).fill(NEVER);
  readonly connection: number;
  /** Of the time in which it began: another one's after the wall clock was set. */
  clock: BootClock;
  /** The log's host, for `host.name`; "" when the records do not say. */
  readonly host: string;
  /** `service.instance.id` of the log source. */
  readonly instance: string;
  /** Binary string as logged, at most 36 bytes; undefined until a line names it. */
  id: string | undefined;
  /** The whole id where a span or the access log has more than the 36 bytes. */
  fullId: string | undefined;
  /** Text of the "Time received" stamp, else of the first stamp seen. */
  keyTime = "";
  slot = -1;
  policy: Policy | undefined;
  traceparent: TraceParent | undefined;
  /** Unix microseconds of `Inject start_time`. */
  injectedStartUs = 0;
  identity: Identity | undefined;
  readonly failures: FailureLine[] = [];
  method = "";
  path = "";
  client = "";
  /** The Host header. */
  authority = "";
  prefillAddress = "";
  decodeAddress = "";
  /** From the access log; 0 until its row is seen. */
  status = 0;
  /** What the client asked for, as the proxy read it; 0 where the log does not tell. */
  maxTokens = 0;
  promptTokensEstimate = -1;
  upstreamReads = -1;
  /** True when only the access log told of it: its END is the row's, not the log's. */
  fromRow = false;
  readonly joined: JoinedSpan[] = [];
  joinedPrefill = 0;
  joinedDecode = 0;
  /** States that a vLLM span was put under, and what those spans span (unix microseconds): they are sent in any case. */
  readonly promised = new Map<Role, { fromUs: number; toUs: number }>();
  /** Where its first line stands in the caller's journal. */
  position = 0;
  /** Process time (ms) of the last line or span. */
  touchedMs: number;
  /** True once its root was handed on. */
  sent = false;
  /** True for the first request with this UUID: its trace id is the UUID's bits. */
  firstUse = false;
  /** True for a request that was merged before and is read again: it makes no spans. */
  repeated = false;
  /** What omnilogger files told of it, by role; absent when they told nothing. */
  engine: Map<Role, EngineRecord> | undefined;
  /** Names of the spans that were sent before the end was read: the others are sent alone when it comes. */
  sentNames: ReadonlySet<string> | undefined;
  /** Actions of which only a row told yet. */
  #rowTold: Set<number> | undefined;
  #key: RequestKey | undefined;
  #keyed = false;
  #prefillSpanId: string | undefined;
  #decodeSpanId: string | undefined;

  constructor(connection: number, clock: BootClock, host: string, instance: string, nowMs: number) {
    this.connection = connection;
    this.clock = clock;
    this.host = host;
    this.instance = instance;
    this.touchedMs = nowMs;
  }

  has(action: number): boolean {
    return this.at[action] !== NEVER;
  }

  /** Notes the first time of an action; later ones do not count, but a line's counts over a row's. True when it was the first. */
  note(action: number, stampUs: number): boolean {
    if (this.at[action] !== NEVER && this.#rowTold?.delete(action) !== true) return false;
    this.at[action] = stampUs;
    return true;
  }

  /** Notes what an access-log row tells: it is rounded, and of an action that came twice it has the second time. */
  noteRow(action: number, stampUs: number): void {
    if (!this.note(action, stampUs)) return;
    this.#rowTold ??= new Set();
    this.#rowTold.add(action);
  }

  /** The action's unix microseconds, or undefined where it was not seen. */
  unixUs(action: number): number | undefined {
    const stamp = this.at[action] as number;
    return stamp === NEVER ? undefined : this.toUnix(stamp);
  }

  /** A stamp as logged -> unix microseconds by the clock as it is known now. */
  toUnix(stampUs: number): number {
    return isUnix(stampUs) ? stampUs : stampUs + this.clock.offsetUs;
  }

  /** How far its log was read, unix microseconds: what happened before is known. */
  knownUntilUs(): number {
    return this.toUnix(this.clock.newestUs);
  }

  /** How well the request's unix times are known; undefined when its stamps are unix time already or no clock is known. */
  clockEstimate(): ClockEstimate | undefined {
    const received = this.at[RECEIVED] as number;
    return received !== NEVER && isUnix(received) ? undefined : this.clock.estimate();
  }

  get ended(): boolean {
    return this.has(END);
  }

  /**
   * True once its key cannot change any more: "Time received" was read, or a later action, which means that it never will
   * be. Before that only "Start to schedule" was.
   */
  get keyed(): boolean {
    // A stamp may be replaced, but none is ever taken back.
    this.#keyed ||= this.at.some((stamp, action) => action !== START && stamp !== NEVER);
    return this.#keyed;
  }

  get open(): boolean {
    return !this.ended;
  }

  /** Where the root starts: the first action; undefined before any action. */
  startUs(): number | undefined {
    return this.unixUs(START) ?? this.unixUs(RECEIVED) ?? this.#extreme(Math.min);
  }

  /** The last action seen, unix microseconds. */
  lastUs(): number | undefined {
    return this.#extreme(Math.max);
  }

  #extreme(pick: (a: number, b: number) => number): number | undefined {
    let best: number | undefined;
    for (const stamp of this.at) {
      if (stamp === NEVER) continue;
      const unix = this.toUnix(stamp);
      best = best === undefined ? unix : pick(best, unix);
    }
    return best;
  }

  /** The interval in which a vLLM span of this role runs; `to` is Infinity while it is open. */
  running(role: Role): { from: number; to: number } | undefined {
    const from = this.unixUs(role === "prefill" ? P_RUNNING : D_RUNNING);
    if (from === undefined) return undefined;
    const to = this.unixUs(role === "prefill" ? P_FINISHED : END) ?? (this.ended ? this.unixUs(END) : undefined);
    return { from, to: to ?? Number.POSITIVE_INFINITY };
  }

  addFailure(line: FailureLine): void {
    if (this.failures.length < MOST_FAILURES) this.failures.push(line);
  }

  /** A vLLM span is under this role's state from now on. */
  promise(role: Role, fromUs: number, toUs: number): void {
    const known = this.promised.get(role);
    this.promised.set(role, {
      fromUs: Math.min(fromUs, known?.fromUs ?? fromUs),
      toUs: Math.max(toUs, known?.toUs ?? toUs),
    });
  }

  addJoined(span: JoinedSpan): void {
    if (this.joined.some((known) => known.spanId === span.spanId)) return; // the sender tried again
    if (span.role === "prefill") this.joinedPrefill++;
    if (span.role === "decode") this.joinedDecode++;
    if (this.joined.length < MOST_JOINED) this.joined.push(span);
  }

  /** Takes the id that the log has over a row's; ids that were made of the other one stay. */
  rename(id: string): void {
    this.id = id;
    if (!this.identity) this.#key = undefined;
  }

  /** What names this request in ids; fixed once it has an identity. */
  key(): RequestKey {
    this.#key ??= { connection: this.connection, id: this.id ?? "", time: this.keyTime };
    return this.#key;
  }

  /** Gives it what an earlier process had given it. */
  restore(identity: Identity, key: RequestKey): void {
    this.identity = identity;
    this.#key = key;
  }

  /** The id of this request's log-derived span of that name. Needs an identity. */
  spanId(name: string, ordinal = 0): string {
    if (name === P_RUNNING_SPAN) {
      this.#prefillSpanId ??= spanIdOf((this.identity as Identity).traceId, this.key(), name);
      return this.#prefillSpanId;
    }
    if (name === D_RUNNING_SPAN) {
      this.#decodeSpanId ??= spanIdOf((this.identity as Identity).traceId, this.key(), name);
      return this.#decodeSpanId;
    }
    return spanIdOf((this.identity as Identity).traceId, this.key(), name, ordinal);
  }
}
