/** Which requests get a trace. */
import type { Figures } from "../omni/derive.ts";
import { Problem } from "./problem.ts";
import type { OfflineTrace, TracedRequest } from "./trace.ts";

/** Figures that requests can be ranked by, the largest first. */
export const RANKS = {
  e2e: (figures) => figures.endToEnd,
  ttft: (figures) => figures.ttft,
  tpot: (figures) => figures.tpot,
  prefill: (figures) => figures.prefill,
  decode: (figures) => figures.decode,
  queue: (figures) => figures.queue,
} satisfies Record<string, (figures: Figures) => number | undefined>;
export type Rank = keyof typeof RANKS;

export interface Selection {
  /** Request ids as the client sent or the proxy made them, with or without vLLM's prefix; all requests when empty. */
  readonly ids: readonly string[];
  /** Unix milliseconds; requests that start before, or not before, are left out of traces and statistics alike. */
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  readonly top: { readonly count: number; readonly by: Rank } | undefined;
}

/** The largest figure of a trace's requests; undefined when none has it. */
export function rankValue(requests: readonly TracedRequest[], by: Rank): number | undefined {
  let largest: number | undefined;
  for (const { figures } of requests) {
    const value = RANKS[by](figures);
    if (value !== undefined && value > (largest ?? Number.NEGATIVE_INFINITY)) largest = value;
  }
  return largest;
}

/** The `count` items with the largest values. */
export class Top<T> {
  readonly #count: number;
  /** Smallest first. */
  readonly #kept: { readonly value: number; readonly item: T }[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  /** Whether `add` would keep an item of this value. */
  takes(value: number): boolean {
    return this.#kept.length < this.#count || value > (this.#kept[0]?.value ?? Number.POSITIVE_INFINITY);
  }

  add(item: T, value: number): void {
    if (!this.takes(value)) return;
    if (this.#kept.length === this.#count) this.#kept.shift();
    let at = this.#kept.length;
    while (at > 0 && (this.#kept[at - 1] as { value: number }).value > value) at--;
    this.#kept.splice(at, 0, { value, item });
  }

  /** The largest first. */
  items(): T[] {
    return this.#kept.map(({ item }) => item).reverse();
  }
}

/** Looks requests up in a selection, and remembers which of its ids were met. */
export class Selector {
  readonly #ids: ReadonlyMap<string, string>;
  readonly #selection: Selection;
  readonly #missing: Set<string>;

  constructor(selection: Selection) {
    this.#selection = selection;
    this.#ids = new Map(selection.ids.map((id) => [bareId(id), id]));
    this.#missing = new Set(selection.ids);
  }

  /** Whether only some requests get a trace, so that spans of no request get none. */
  get narrows(): boolean {
    const { sinceMs, untilMs, top } = this.#selection;
    return this.#ids.size > 0 || top !== undefined || sinceMs !== undefined || untilMs !== undefined;
  }

  /** False for a request outside the time that was asked for. */
  inTime(startUs: number): boolean {
    const { sinceMs, untilMs } = this.#selection;
    return (sinceMs === undefined || startUs >= sinceMs * 1000) && (untilMs === undefined || startUs < untilMs * 1000);
  }

  /** Whether the trace is one of those asked for by id. */
  wants(trace: Pick<OfflineTrace, "traceId" | "requests">): boolean {
    if (this.#ids.size === 0) return !this.narrows || trace.requests.length > 0;
    let wanted = false;
    for (const request of trace.requests) {
      for (const name of namesOf(request, trace)) {
        const asked = this.#ids.get(name);
        if (asked === undefined) continue;
        this.#missing.delete(asked);
        wanted = true;
      }
    }
    return wanted;
  }

  /** Ids that no request had. */
  get missing(): readonly string[] {
    return [...this.#missing];
  }
}

/** What a request may be called by: its id, the 36 bytes of it that the proxy logs, its trace. */
function namesOf(request: TracedRequest, trace: Pick<OfflineTrace, "traceId">): readonly string[] {
  return [request.id, request.id.slice(0, 36), trace.traceId];
}

/** Without vLLM's prefix, as log_to_jaeger.py takes ids. */
function bareId(id: string): string {
  return id.replace(/^(?:chatcmpl|cmpl)-/, "");
}

/** "a,b , c" -> its ids. @throws Problem that names `option` when there is none */
export function parseIds(text: string, option: string): string[] {
  const ids = text
    .split(",")
    .map((id) => id.trim())
    .filter((id) => id !== "");
  if (ids.length === 0) throw new Problem(`${option}: no id in "${text}"; give them with commas between them`);
  return ids;
}
