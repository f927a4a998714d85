/**
 * Brings the spans of one trace together, although they come at different times: a request's when it is finished, vLLM's
 * when they are joined. Holds as few traces as it can, because a log may have millions.
 */
import type { ProxyRequest } from "../omni/proxy-request.ts";
import type { ResourceSpans } from "../pdata/model.ts";
import type { OfflineTrace, TracedRequest } from "./trace.ts";

export interface GatherSettings {
  /** How long a trace that belongs to one request waits for latecomers, log milliseconds. */
  readonly lingerMs: number;
  /** How long a trace waits that may get more requests (a client's own trace) or whose request is unknown. */
  readonly sharedMs: number;
  /** With more spans than this waiting, the oldest traces go first. */
  readonly maxSpans: number;
}

const GATHER = { sharedMs: 60_000, maxSpans: 300_000 };

/**
 * A trace waits so long (log time) for latecomers; longer where more requests may belong to it. Where only logs are read
 * nothing comes late to a request of its own, and what is handed on at once costs the least memory.
 */
export function gatherSettings(recordings: readonly string[]): GatherSettings {
  return { ...GATHER, lingerMs: recordings.length > 0 ? 3_000 : 0 };
}
interface Entry {
  readonly traceId: string;
  readonly resourceSpans: ResourceSpans[];
  readonly requests: TracedRequest[];
  /** Requests that spans were put under, and whose own spans are still to come. */
  readonly awaited: Set<ProxyRequest>;
  spans: number;
  /** True while more requests may come into this trace. */
  shared: boolean;
  dueMs: number;
}

export class Gatherer {
  readonly #settings: GatherSettings;
  readonly #emit: (trace: OfflineTrace) => void;
  readonly #entries = new Map<string, Entry>();
  /** Entries in the order in which they are due; those that await a request are in neither. */
  readonly #own = new Set<Entry>();
  readonly #shared = new Set<Entry>();
  #spans = 0;
  #nowMs = 0;
  /** Traces that were handed on in more than one part, because a part came too late. */
  parted = 0;
  /** Ids of traces that were handed on lately, so that parted ones are noticed. */
  readonly #gone = new Set<string>();

  constructor(settings: GatherSettings, emit: (trace: OfflineTrace) => void) {
    this.#settings = settings;
    this.#emit = emit;
  }

  /** A finished request's spans, or more of them. */
  request(request: ProxyRequest, traced: TracedRequest | undefined, groups: readonly ResourceSpans[]): void {
    const { identity } = request;
    if (!identity) return;
    const entry = this.#entry(identity.traceId);
    entry.awaited.delete(request);
    if (traced) entry.requests.push(traced);
    // A trace that the client began, or whose id others may use, can get more requests.
    if (identity.rootParentId === "" && entry.requests.length === 1) entry.shared = false;
    this.#add(entry, groups);
  }

  /** Spans that were put under `request`: its trace is kept until the request itself has come. */
  awaits(request: ProxyRequest): void {
    if (!request.identity || request.sent) return;
    const entry = this.#entry(request.identity.traceId);
    entry.awaited.add(request);
    this.#place(entry);
  }

  /** `request` gets no trace, and neither do the spans that were put under it. */
  leaveOut(request: ProxyRequest): void {
    const entry = request.identity && this.#entries.get(request.identity.traceId);
    if (!entry?.awaited.delete(request)) return;
    if (entry.awaited.size === 0 && entry.requests.length === 0) this.#remove(entry);
    else this.#place(entry);
  }

  /** Spans with their final trace ids, of any traces. */
  spans(resourceSpans: readonly ResourceSpans[]): void {
    for (const [traceId, part] of byTrace(resourceSpans)) this.#add(this.#entry(traceId), [part]);
  }

  /** Hands on what is due. `nowMs`: the log's time. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const queue of [this.#own, this.#shared]) {
      for (const entry of queue) {
        if (entry.dueMs > nowMs) break;
        this.#hand(entry);
      }
    }
    for (const queue of [this.#shared, this.#own]) {
      for (const entry of queue) {
        if (this.#spans <= this.#settings.maxSpans) break;
        this.#hand(entry);
      }
    }
  }

  /** Hands everything on. */
  finish(): void {
    for (const entry of [...this.#entries.values()]) this.#hand(entry);
  }

  #entry(traceId: string): Entry {
    let entry = this.#entries.get(traceId);
    if (!entry) {
      entry = {
        traceId,
        resourceSpans: [],
        requests: [],
        awaited: new Set(),
        spans: 0,
        shared: true,
        dueMs: 0,
      };
      this.#entries.set(traceId, entry);
    }
    return entry;
  }

  #add(entry: Entry, groups: readonly ResourceSpans[]): void {
    for (const group of groups) {
      let count = 0;
      for (const { spans } of group.scopeSpans) count += spans.length;
      if (count === 0) continue;
      entry.resourceSpans.push(group);
      entry.spans += count;
      this.#spans += count;
    }
    this.#place(entry);
  }

  /** Puts an entry at the end of the queue that it waits in. */
  #place(entry: Entry): void {
    this.#own.delete(entry);
    this.#shared.delete(entry);
    if (entry.awaited.size > 0) return;
    const { lingerMs, sharedMs } = this.#settings;
    entry.dueMs = this.#nowMs + (entry.shared ? sharedMs : lingerMs);
    (entry.shared ? this.#shared : this.#own).add(entry);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.traceId);
    this.#own.delete(entry);
    this.#shared.delete(entry);
    this.#spans -= entry.spans;
  }

  #hand(entry: Entry): void {
    this.#remove(entry);
    if (entry.spans === 0) return;
    if (this.#gone.has(entry.traceId)) this.parted++;
    this.#gone.add(entry.traceId);
    if (this.#gone.size > MOST_GONE) this.#gone.delete(this.#gone.values().next().value as string);
    this.#emit(entry);
  }
}

const MOST_GONE = 20_000;

/** The spans of each trace; a batch of one trace comes back as it is. */
function byTrace(resourceSpans: readonly ResourceSpans[]): [string, ResourceSpans][] {
  const out: [string, ResourceSpans][] = [];
  for (const { resource, scopeSpans, schemaUrl } of resourceSpans) {
    const parts = new Map<string, ResourceSpans>();
    for (const { scope, spans, schemaUrl: scopeUrl } of scopeSpans) {
      const scopes = new Map<string, ResourceSpans["scopeSpans"][number]>();
      for (const span of spans) {
        let list = scopes.get(span.traceId);
        if (!list) {
          list = { scope, spans: [], schemaUrl: scopeUrl };
          scopes.set(span.traceId, list);
          const part = parts.get(span.traceId);
          if (part) part.scopeSpans.push(list);
          else parts.set(span.traceId, { resource, scopeSpans: [list], schemaUrl });
        }
        list.spans.push(span);
      }
    }
    out.push(...parts);
  }
  return out;
}
