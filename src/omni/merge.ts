/**
 * The merge: lines and spans in, one trace a request out. Pure: time is an argument, what is to be sent is returned or
 * handed to a callback. The connector (connectors/requestmerge) gives it a clock, timers and consumers.
 *
 * A request is open (lines come), then ended (waits for its vLLM spans), then sent (its root and states have left), then
 * remembered (late spans still find their place), then forgotten.
 */
import { D_RUNNING, D_RUNNING_SPAN, END, P_RUNNING, P_RUNNING_SPAN, ROOT_SPAN, type Role } from "./actions.ts";
import { Bottlenecks } from "./bottleneck.ts";
import type { ClockEstimate, HostClocks } from "./clock.ts";
import { type Figures, figuresOf, phasesOf } from "./derive.ts";
import { EngineLog } from "./engine-log.ts";
import { Guesses } from "./guesses.ts";
import { type HeldBatch, HeldBatches } from "./held.ts";
import { hexOf, type IdSource, isId } from "./id-source.ts";
import { type RequestKey, traceIdOf } from "./identity.ts";
import { Instances } from "./instances.ts";
import { type LineParser, LOGGED_ID_BYTES } from "./line.ts";
import { type LogEvents, LogTable, type SourceName } from "./log-table.ts";
import { MovedTraces } from "./moved-traces.ts";
import type { Identity, ProxyRequest } from "./proxy-request.ts";
import { RecentMap } from "./recent-map.ts";
import { homeOf, RememberedRequests } from "./remembered.ts";
import { candidates, fullId, uuidTraceId } from "./request-id.ts";
import { keyHash, type SentMarks } from "./sent-marks.ts";
import { type Decision, Joining, join, type Known, type RoleRules } from "./span-join.ts";
import { patchTraces, type SpanEdit } from "./span-patch.ts";
import { type SpanFacts, scanTraces } from "./span-scan.ts";
import { type Names, type RequestWriter, TraceWriter } from "./trace-writer.ts";

/** The connector's configuration, in milliseconds. */
export interface MergeSettings {
  readonly roles: RoleRules;
  readonly names: Names;
  /** How long a span waits for its request's lines. */
  readonly spanWaitMs: number;
  /** How long an ended request waits for its spans. */
  readonly waitMs: number;
  /** How long an open request lives after its last line or span. */
  readonly requestTimeoutMs: number;
  readonly maxRequests: number;
  readonly rememberMs: number;
  readonly rememberCount: number;
  readonly clockSkew: "annotate" | "correct" | "off";
  readonly unsampled: "emit" | "drop";
  /** What is known of the hosts' clocks besides what spans tell; hosts as logs and upstream addresses name them. */
  readonly hostClocks?: HostClocks;
}

export type UnmergedCause = "no_request_id" | "unknown_request" | "ambiguous" | "role_unknown";

/** What the merge reports as it works; the connector makes metrics of it. */
export interface MergeObserver {
  /** A request was sent, or dropped as unsampled. */
  request(request: ProxyRequest, figures: Figures, dropped: boolean): void;
  /** A span was put into its request's trace; `decision` says which and where. */
  merged(role: Role | undefined, facts: SpanFacts, decision: Placement): void;
  /** `facts` is absent where the spans name no request. */
  unmerged(cause: UnmergedCause, spans: number, facts?: SpanFacts): void;
  guessed(): void;
  late(what: "span" | "end" | "line"): void;
  /** A request left before its time because the table was full. */
  earlyRelease(): void;
  instanceClock(instance: string, estimate: ClockEstimate): void;
}

/** Encoded traces to be handed on. */
export interface Output {
  readonly bytes: Uint8Array;
  readonly items: number;
}

/** A span that names a request, and what its request is called by now; absent where it has no request. */
export interface NamedSpan {
  readonly facts: SpanFacts;
  readonly home: { readonly identity: Identity; readonly key: RequestKey } | undefined;
}

/** A batch of spans that goes on, and those of them that name a request. */
export interface SpanOutput extends Output {
  named(): readonly NamedSpan[];
}

/** Where a span was put. */
export type Placement = Extract<Decision, { readonly kind: "request" | "remembered" }>;

/** No more spans for this long: a request that has all its spans is sent. */
const QUIET_MS = 1000;
/** A sent request stays this long as it is, so that an access-log row or line that comes a little late finds it. */
const LINGER_MS = 3000;
/** Spans in one output batch, about. */
const OUTPUT_SPANS = 4096;
/** Aliases and moved traces that are kept. */
const MOST_ALIASES = 100_000;
const MOST_MOVED_TRACES = 10_000;

export class Merge implements LogEvents {
  readonly #settings: MergeSettings;
  readonly #observer: MergeObserver;
  readonly #newWriter: () => RequestWriter;
  readonly #table: LogTable;
  readonly #engine: EngineLog;
  readonly #remembered: RememberedRequests;
  readonly #bottlenecks = new Bottlenecks();
  readonly #held = new HeldBatches();
  readonly #known: Known;
  /** Requests by what they wait for, each with the time when that is over, in that order. */
  readonly #open = new Map<ProxyRequest, number>();
  readonly #ended = new Map<ProxyRequest, number>();
  readonly #complete = new Map<ProxyRequest, number>();
  /** Sent, and kept as they are for a moment; and sent without an end, which may still come. */
  readonly #lingering = new Map<ProxyRequest, number>();
  readonly #endless = new Map<ProxyRequest, number>();
  /** The live request that has a UUID's bits as its trace id. */
  readonly #uuids = new Map<string, ProxyRequest>();
  readonly #guesses: Guesses;
  readonly #instances: Instances;
  readonly #aliases = new RecentMap<string>(MOST_ALIASES);
  readonly #moved = new MovedTraces(MOST_MOVED_TRACES);
  /** Ended before their time in the table was up; sent at the next `due`. */
  readonly #evicted: ProxyRequest[] = [];
  readonly #lateEnds: ProxyRequest[] = [];
  /** While the lines of an earlier process come again. */
  #sentBefore: SentMarks | undefined;
  #newestUs = 0;
  #nowMs = 0;

  /** `newWriter` makes what `due` and `drain` hand on of finished requests; by default that is encoded traces. */
  constructor(
    settings: MergeSettings,
    observer: MergeObserver,
    newWriter: () => RequestWriter = () => new TraceWriter(settings.names),
  ) {
    this.#settings = settings;
    this.#observer = observer;
    this.#newWriter = newWriter;
    this.#table = new LogTable(this);
    this.#engine = new EngineLog(settings.maxRequests, settings.requestTimeoutMs);
    this.#remembered = new RememberedRequests(settings.rememberCount);
    this.#guesses = new Guesses(settings.rememberMs);
    this.#instances = new Instances(settings.clockSkew, settings.hostClocks ?? new Map());
    this.#known = { live: (key) => this.#table.byId(key), remembered: (key) => this.#remembered.byId(key) };
  }

  /** Requests whose root was not sent yet. */
  get openRequests(): number {
    return this.#open.size + this.#ended.size;
  }

  /** Batches that wait for lines. */
  get heldBatches(): number {
    return this.#held.size;
  }

  /** Reads one line. @returns its kind (line.ts) */
  readLine(source: SourceName, buffer: Buffer, from: number, to: number, nowMs: number): number {
    this.#nowMs = nowMs;
    return this.#table.read(source, buffer, from, to, nowMs);
  }

  /**
   * Takes a batch of spans. `done` is called with what goes on: at once, or when the lines of its requests are read, or
   * `spanWaitMs` later. `hold: false` never waits (no lines are to be expected).
   */
  takeSpans(bytes: Uint8Array, items: number, nowMs: number, hold: boolean, done: (output: SpanOutput) => void): void {
    this.#nowMs = nowMs;
    const scan = scanTraces(bytes);
    if (scan.anonymous > 0) this.#observer.unmerged("no_request_id", scan.anonymous);
    const joining = scan.named.map((facts) => this.#joining(facts));
    const batch: HeldBatch = {
      bytes,
      items,
      joining,
      undecided: 0,
      dueMs: nowMs + this.#settings.spanWaitMs,
      done: (decided) => done({ bytes: this.#finish(decided, scan.traceIdAt), items, named: () => namedIn(decided) }),
    };
    for (const span of joining) {
      const decision = join(span, this.#known, this.#settings.roles, !hold);
      if (decision.kind === "wait") batch.undecided++;
      else span.decision = decision;
    }
    if (batch.undecided > 0) this.#held.hold(batch);
    else batch.done(batch);
  }

  /** When the oldest held batch goes on in any case. */
  get heldDueMs(): number | undefined {
    return this.#held.dueMs;
  }

  /** When `due` has something to do next, process milliseconds; undefined when nothing waits. */
  nextDueMs(): number | undefined {
    if (this.#evicted.length > 0 || this.#lateEnds.length > 0) return 0;
    let next = this.#held.dueMs ?? Number.POSITIVE_INFINITY;
    for (const queue of [this.#complete, this.#ended, this.#open, this.#lingering, this.#endless]) {
      for (const [, dueMs] of queue) {
        next = Math.min(next, dueMs);
        break;
      }
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Lets batches go whose wait is over. Call it before `due`. */
  expireHeld(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#held.expire((span) => this.#decide(span, true), nowMs);
  }

  /** The requests whose time has come, about OUTPUT_SPANS spans of them; call again until undefined. */
  due(nowMs: number): Output | undefined {
    this.#nowMs = nowMs;
    const writer = this.#newWriter();
    for (const request of this.#lateEnds.splice(0)) this.#sendRest(request, writer);
    for (const request of this.#evicted.splice(0)) this.#send(request, writer);
    for (const queue of [this.#complete, this.#ended]) {
      for (const [request, dueMs] of queue) {
        if (dueMs > nowMs || writer.items >= OUTPUT_SPANS) break;
        this.#send(request, writer);
      }
    }
    for (const [request, dueMs] of this.#open) {
      if (dueMs > nowMs || writer.items >= OUTPUT_SPANS) break;
      const really = request.touchedMs + this.#settings.requestTimeoutMs;
      if (really > nowMs) {
        this.#open.delete(request);
        this.#open.set(request, really);
      } else this.#send(request, writer);
    }
    for (const queue of [this.#lingering, this.#endless]) {
      for (const [request, dueMs] of queue) {
        if (dueMs > nowMs) break;
        this.#remember(request);
      }
    }
    this.#engine.expire(nowMs);
    this.#remembered.forgetBefore(this.#newestUs - this.#settings.rememberMs * 1000);
    this.#guesses.expire(nowMs);
    return writer.finish();
  }

  /**
   * Everything that still waits, because the process stops: held batches go on, then all requests. Call until undefined.
   * @param keepsOpen leave the requests that have not ended
   */
  drain(nowMs: number, keepsOpen = false): Output | undefined {
    this.#nowMs = nowMs;
    this.#held.expire((span) => this.#decide(span, true));
    const writer = this.#newWriter();
    for (const queue of [this.#lateEnds, this.#evicted])
      for (const request of queue.splice(0))
        request.sent ? this.#sendRest(request, writer) : this.#send(request, writer);
    for (const queue of [this.#complete, this.#ended, ...(keepsOpen ? [] : [this.#open])]) {
      for (const [request] of queue) {
        if (writer.items >= OUTPUT_SPANS) break;
        this.#send(request, writer);
      }
    }
    return writer.finish();
  }

  // ---- for a caller that keeps a journal of what it gives ----

  /** The place of the next lines in the caller's journal; a request remembers that of its first line. */
  set position(position: number) {
    this.#table.position = position;
  }

  /**
   * The first place in the journal that is still needed; Infinity when none is. Lines of no known request count for
   * `unnamedMs`.
   */
  oldestPosition(nowMs: number, unnamedMs: number): number {
    let oldest = this.#table.oldestUnnamed(nowMs - unnamedMs);
    for (const requests of [this.#open.keys(), this.#ended.keys(), this.#evicted, this.#lateEnds])
      for (const request of requests) oldest = Math.min(oldest, request.position);
    return oldest;
  }

  /** From now on lines and spans of an earlier process come again: what `sent` has is not sent again. */
  resume(sent: SentMarks): void {
    this.#sentBefore = sent;
  }

  /** A span that an earlier process has passed on. */
  resumeSpan({ facts, home }: NamedSpan, nowMs: number): void {
    this.#nowMs = nowMs;
    const decision = this.#decide(this.#joining(facts), true);
    if (decision.kind === "request" && !decision.request.identity && home)
      decision.request.restore(home.identity, home.key);
    this.#edit(this.#joining(facts), decision);
  }

  /** That was all of it. */
  resumed(nowMs: number): void {
    this.#nowMs = nowMs;
    const sent = this.#sentBefore;
    this.#sentBefore = undefined;
    for (const request of sent ? [...this.#open.keys(), ...this.#ended.keys()] : []) {
      if (sent?.has(request)) this.#send(request, this.#newWriter());
      else if (sent?.hasRestOf(request)) {
        this.#leave(request);
        this.#table.forget(request);
      }
    }
  }

  // ---- what the log table tells ----

  begun(request: ProxyRequest): void {
    const uuid = uuidTraceId(request.id as string);
    if (uuid !== undefined && !this.#uuids.has(uuid) && !this.#remembered.hasId(request.id as string)) {
      request.firstUse = true;
      this.#uuids.set(uuid, request);
    }
    this.#engine.adopt(request);
    this.#open.set(request, this.#nowMs + this.#settings.requestTimeoutMs);
    if (this.openRequests > this.#settings.maxRequests) this.#evict();
  }

  keyed(request: ProxyRequest): void {
    if (!this.#remembered.hasKey(keyHash(request))) return;
    // Its root was sent before: the same log is read again.
    request.repeated = true;
    this.#observer.late("line");
    this.#leave(request);
    this.#table.hide(request);
  }

  absorbed(begun: ProxyRequest, row: ProxyRequest): void {
    if (begun.firstUse) {
      row.firstUse = true;
      this.#uuids.set(uuidTraceId(row.id as string) as string, row);
    }
    this.#open.delete(begun);
    row.position = Math.min(row.position, begun.position);
    // A span told of the traceparent before this line told that the proxy made it up: then its span is the root.
    const { identity, traceparent } = row;
    if (
      traceparent?.injected &&
      identity?.traceId === traceparent.traceId &&
      identity.rootParentId === traceparent.spanId &&
      !row.sent &&
      row.joined.every(({ role }) => role !== undefined)
    )
      row.identity = { ...identity, rootSpanId: traceparent.spanId, rootParentId: "" };
  }

  progressed(request: ProxyRequest, action: number): void {
    if (request.repeated) return;
    if (action === END) this.#end(request);
    this.#newestUs = Math.max(this.#newestUs, request.startUs() ?? 0);
    if (this.#held.size > 0) this.#held.stir(request.id as string, (span) => this.#decide(span, false));
  }

  engine(parser: LineParser): void {
    this.#engine.take(parser, this.#known.live, this.#nowMs);
  }

  alias(id: string, alias: string): void {
    const key = candidates(Buffer.from(alias, "latin1").toString("utf8"))[0];
    if (key !== undefined) this.#aliases.set(key, id);
  }

  // ---- requests ----

  #end(request: ProxyRequest): void {
    if (request.sent) {
      this.#observer.late("end");
      this.#lateEnds.push(request);
      return;
    }
    // What an earlier process sent only has to be known.
    if (this.#sentBefore?.has(request)) {
      this.#send(request, this.#newWriter());
      return;
    }
    this.#open.delete(request);
    if (!this.#ended.has(request)) this.#ended.set(request, this.#nowMs + this.#settings.waitMs);
    this.#completeIfAll(request);
  }

  /** An ended request that has a span of each expected role is sent when no more spans come for QUIET_MS. */
  #completeIfAll(request: ProxyRequest): void {
    if (!request.ended || request.sent) return;
    const silent = request.traceparent?.sampled === false; // vLLM exports nothing for it
    const all =
      silent ||
      ((request.joinedPrefill > 0 || !request.has(P_RUNNING)) && (request.joinedDecode > 0 || !request.has(D_RUNNING)));
    if (!all) return;
    this.#complete.delete(request);
    this.#complete.set(request, this.#nowMs + QUIET_MS);
  }

  #evict(): void {
    for (const queue of [this.#ended, this.#open]) {
      for (const [request] of queue) {
        this.#leave(request);
        this.#evicted.push(request);
        this.#observer.earlyRelease();
        return;
      }
    }
  }

  /** Takes a request out of everything that it waits in. */
  #leave(request: ProxyRequest): void {
    this.#open.delete(request);
    this.#ended.delete(request);
    this.#complete.delete(request);
  }

  #send(request: ProxyRequest, writer: RequestWriter): void {
    this.#leave(request);
    const figures = figuresOf(request);
    const dropped = this.#settings.unsampled === "drop" && request.traceparent?.sampled === false;
    request.sent = true;
    if (!dropped) {
      this.#identify(request);
      const worst = this.#bottlenecks.observe(phasesOf(request));
      const extra: [string, string | number][] = worst
        ? [
            ["omni.bottleneck", worst.name],
            ["omni.bottleneck_excess_seconds", worst.excessSeconds],
          ]
        : [];
      const names = writer.add(request, figures, extra);
      if (!request.ended) request.sentNames = names;
    }
    this.#observer.request(request, figures, dropped);
    const [queue, keepMs] = request.ended ? [this.#lingering, LINGER_MS] : [this.#endless, this.#settings.rememberMs];
    queue.set(request, this.#nowMs + keepMs);
    if (queue.size > this.#settings.maxRequests) this.#remember(queue.keys().next().value as ProxyRequest);
  }

  /** What an end that came after the request was sent adds: the states that were not sent then. */
  #sendRest(request: ProxyRequest, writer: RequestWriter): void {
    if (request.sentNames) writer.add(request, figuresOf(request), [], request.sentNames);
    request.sentNames = undefined;
    this.#endless.delete(request);
    this.#lingering.set(request, this.#nowMs + LINGER_MS);
  }

  #remember(request: ProxyRequest): void {
    this.#lingering.delete(request);
    this.#endless.delete(request);
    this.#table.forget(request);
    const uuid = uuidTraceId(request.id as string);
    if (uuid !== undefined && this.#uuids.get(uuid) === request) this.#uuids.delete(uuid);
    const { identity } = request;
    if (!identity) return;
    this.#remembered.add({
      id: request.id as string,
      keyHash: keyHash(request),
      traceId: identity.traceId,
      rootSpanId: identity.rootSpanId,
      prefillSpanId: request.has(P_RUNNING) || request.promised.has("prefill") ? request.spanId(P_RUNNING_SPAN) : "",
      decodeSpanId: request.has(D_RUNNING) || request.promised.has("decode") ? request.spanId(D_RUNNING_SPAN) : "",
      startUs: request.startUs() ?? 0,
      endUs: request.lastUs() ?? 0,
    });
  }

  /** Gives the request its trace, once. `span` may tell a traceparent that the log does not. */
  #identify(request: ProxyRequest, span?: SpanFacts): Identity {
    if (request.identity) return request.identity;
    const parent =
      request.traceparent ??
      (span && span.parentSpanId !== ""
        ? { traceId: span.traceId, spanId: span.parentSpanId, injected: false }
        : undefined);
    const key = request.key();
    const uuid = request.firstUse ? uuidTraceId(key.id) : undefined;
    const traceId = parent?.traceId ?? this.#guesses.claim(request) ?? uuid ?? traceIdOf(key);
    request.identity = { traceId, rootSpanId: "", rootParentId: parent && !parent.injected ? parent.spanId : "" };
    request.identity = {
      ...request.identity,
      rootSpanId: parent?.injected ? parent.spanId : request.spanId(ROOT_SPAN),
    };
    return request.identity;
  }

  // ---- spans ----

  #joining(facts: SpanFacts): Joining {
    const alias = this.#aliases.empty
      ? undefined
      : candidates(facts.requestId)
          .map((key) => this.#aliases.get(key))
          .find((id) => id !== undefined);
    return new Joining(facts, this.#instances.shiftUs(facts), alias?.slice(0, LOGGED_ID_BYTES));
  }

  #decide(span: Joining, final: boolean): Decision {
    return join(span, this.#known, this.#settings.roles, final);
  }

  /** Applies a batch's decisions. @returns its bytes, changed where spans move */
  #finish(batch: HeldBatch, traceIdAt: readonly number[]): Uint8Array {
    const edits = new Array<SpanEdit | undefined>(traceIdAt.length).fill(undefined);
    for (const span of batch.joining) edits[span.facts.index] = this.#edit(span, span.decision as Decision);
    if (!this.#moved.empty && traceIdAt.length > batch.joining.length) this.#moveAlong(batch, traceIdAt, edits);
    return patchTraces(batch.bytes, edits);
  }

  #edit(span: Joining, decision: Decision): SpanEdit | undefined {
    switch (decision.kind) {
      case "request":
        return this.#intoRequest(span, decision);
      case "remembered":
        return this.#intoRemembered(span, decision);
      case "none":
        this.#observer.unmerged(decision.cause, 1, span.facts);
        return decision.cause === "unknown_request" ? this.#guess(span.facts) : undefined;
      case "wait":
        return undefined;
    }
  }

  #intoRequest({ facts }: Joining, decision: Decision & { readonly kind: "request" }): SpanEdit {
    const { request, role, under } = decision;
    const identity = this.#identify(request, facts);
    request.touchedMs = this.#nowMs;
    if (request.sent) this.#observer.late("span");
    this.#observer.merged(role, facts, decision);
    if (role === undefined && facts.fromVllm) this.#observer.unmerged("role_unknown", 1, facts);
    if (facts.fromVllm) {
      const interval = isRole(under) ? request.running(under) : undefined;
      const upstream = under === "prefill" ? request.prefillAddress : request.decodeAddress;
      const clock = interval && this.#instances.watch(facts, interval, { proxy: request.host, upstream });
      if (clock) this.#observer.instanceClock(clock.name, clock.estimate);
      request.addJoined({
        spanId: facts.spanId,
        role,
        service: facts.resource.attributes.get("service.name"),
        completionTokens: facts.completionTokens,
        promptTokens: facts.promptTokens,
        model: facts.model,
      });
      const full = fullId(facts.requestId);
      if (request.id?.length === LOGGED_ID_BYTES && full.length > LOGGED_ID_BYTES && full.startsWith(request.id))
        request.fullId ??= full;
      if (isRole(under)) request.promise(under, facts.startUs, facts.endUs);
      this.#completeIfAll(request);
    }
    const states = { prefill: P_RUNNING_SPAN, decode: D_RUNNING_SPAN };
    const home = under === "kept" ? undefined : isRole(under) ? request.spanId(states[under]) : identity.rootSpanId;
    return this.#placed(facts, identity.traceId, home, role, identity);
  }

  #intoRemembered({ facts }: Joining, decision: Decision & { readonly kind: "remembered" }): SpanEdit {
    const { request, role } = decision;
    this.#observer.late("span");
    this.#observer.merged(role, facts, decision);
    return this.#placed(facts, request.traceIdBytes ?? request.traceId, homeOf(request, role), role, request);
  }

  /** The edit that puts a span under `home` (undefined: leaves its parent); the root and its parent are above it and need no link. */
  #placed(
    facts: SpanFacts,
    traceId: IdSource,
    home: string | undefined,
    role: Role | undefined,
    root: { readonly rootSpanId: string; readonly rootParentId?: string },
  ): SpanEdit {
    const { places, parentSpanId: oldParentId } = facts;
    const moved = !isInTrace(facts, traceId);
    const skew = this.#instances.skew(facts);
    const keepsOriginal = moved && (places ? places.traceIdAt >= 0 : facts.traceId !== "");
    if (keepsOriginal) this.#noteMoved(facts, traceId);
    // OmniInfer's own spans have a parent among themselves; vLLM's are what the proxy's state waited for.
    const parentSpanId = facts.fromVllm || oldParentId === "" ? home : undefined;
    const linked =
      parentSpanId !== undefined &&
      oldParentId !== "" &&
      (moved || (oldParentId !== root.rootSpanId && oldParentId !== root.rootParentId));
    return {
      traceId,
      places,
      role,
      keepsOriginal,
      parentSpanId,
      attributes: skew.attributes,
      link: linked ? { traceId: facts.traceId, spanId: oldParentId } : undefined,
      shiftNanos: skew.shiftNanos,
    };
  }

  #noteMoved(facts: SpanFacts, to: IdSource): void {
    if (facts.places) this.#moved.note(facts.places.bytes, facts.places.traceIdAt, to);
    else this.#moved.note(Buffer.from(facts.traceId, "hex"), 0, to);
  }

  /** Spans that name no request and share a moved span's trace move with it. */
  #moveAlong(batch: HeldBatch, traceIdAt: readonly number[], edits: (SpanEdit | undefined)[]): void {
    const named = new Set(batch.joining.map(({ facts }) => facts.index));
    for (const [index, at] of traceIdAt.entries()) {
      if (at < 0 || named.has(index)) continue;
      const to = this.#moved.target(batch.bytes, at);
      if (to) edits[index] = { traceId: to, keepsOriginal: true, attributes: [] };
    }
  }

  /** A span that has to leave before any line told of its request. One with a parent has its traceparent's trace already. */
  #guess(facts: SpanFacts): SpanEdit | undefined {
    if (facts.parentSpanId !== "" || !facts.fromVllm) return undefined;
    this.#observer.guessed();
    const traceId = this.#guesses.make(facts, this.#nowMs);
    if (traceId === facts.traceId) return undefined;
    const { places } = facts;
    if (facts.traceId === "") return { traceId, places, attributes: [] };
    this.#noteMoved(facts, traceId);
    return { traceId, places, keepsOriginal: true, attributes: [] };
  }
}

function namedIn({ joining }: HeldBatch): NamedSpan[] {
  return joining.map(({ facts, decision }) => {
    const request = decision?.kind === "request" ? decision.request : undefined;
    return { facts, home: request?.identity && { identity: request.identity, key: request.key() } };
  });
}

function isInTrace(facts: SpanFacts, traceId: IdSource): boolean {
  const { places } = facts;
  if (places?.isPlain) return isId(places.bytes, places.traceIdAt, traceId, 16);
  return facts.traceId === hexOf(traceId, 16);
}

function isRole(under: Role | "root" | "kept"): under is Role {
  return under === "prefill" || under === "decode";
}
