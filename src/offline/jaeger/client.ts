/** Traces from a running Jaeger: its UI's API (/api/traces, all versions), else API v3 (OTLP). */
import { decodeTraces } from "../../pdata/decode.ts";
import { jsonToProto } from "../../pdata/json.ts";
import type { ResourceSpans } from "../../pdata/model.ts";
import { Problem, reasonOf } from "../problem.ts";
import { isJaegerDocument, type JaegerTrace, resourceSpansOf } from "./model.ts";

export interface JaegerQuery {
  /** Base URL of the UI: http://localhost:16686, with a base path where the UI has one. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly service: string;
  /** Unix milliseconds. */
  readonly fromMs: number;
  readonly toMs: number;
  /** The most traces to fetch, the newest first; 0 for all. */
  readonly limit: number;
  readonly timeoutMs: number;
}

/** One trace. */
export interface FetchedTrace {
  readonly traceId: string;
  readonly resourceSpans: readonly ResourceSpans[];
}

/** Traces of one answer; a store gives this many without complaint, and a page of them fits into memory. */
const PAGE = 1000;
/** Jaeger's stores tell times in microseconds. */
const LEAST_WINDOW_US = 1;
const MOST_EXCERPT = 200;

/** What an API answers to one question; undefined when it is not there. */
type Ask = (fromUs: number, toUs: number, limit: number) => Promise<FetchedTrace[] | undefined>;

/**
 * Fetches the traces that have a span of the service in the time. An answer that is full may have left some out: its time
 * is then asked for in halves, the newer one first. Each trace is given once. @throws Problem
 */
export async function fetchTraces(
  query: JaegerQuery,
  take: (trace: FetchedTrace) => void,
  stop?: AbortSignal,
): Promise<number> {
  const base = baseUrl(query.url);
  const http: Http = { base, query, stop };
  const seen = new Set<string>();
  let ask: Ask = (...window) => askV1(http, ...window);
  const visit = async (fromUs: number, toUs: number): Promise<void> => {
    const left = query.limit === 0 ? PAGE : query.limit - seen.size;
    if (left <= 0) return;
    const page = Math.min(PAGE, query.limit === 0 ? PAGE : query.limit);
    let traces = await ask(fromUs, toUs, page);
    if (traces === undefined) {
      ask = async (...window) =>
        (await askV3(http, ...window)) ??
        missing(`${base.href}: neither /api/traces nor /api/v3/traces is there; give the address of Jaeger's UI`);
      traces = await ask(fromUs, toUs, page);
    }
    const full = traces !== undefined && traces.length >= page;
    if (full && (query.limit === 0 || query.limit > page) && toUs - fromUs > LEAST_WINDOW_US) {
      const middle = Math.floor((fromUs + toUs) / 2);
      await visit(middle, toUs);
      await visit(fromUs, middle);
      return;
    }
    for (const trace of traces ?? []) {
      if (seen.has(trace.traceId) || (query.limit > 0 && seen.size >= query.limit)) continue;
      seen.add(trace.traceId);
      take(trace);
    }
  };
  await visit(Math.floor(query.fromMs * 1000), Math.ceil(query.toMs * 1000));
  return seen.size;
}

/** One trace by its id; undefined when Jaeger does not have it. @throws Problem */
export async function fetchTrace(
  query: Pick<JaegerQuery, "url" | "headers" | "timeoutMs">,
  traceId: string,
  stop?: AbortSignal,
): Promise<FetchedTrace | undefined> {
  const http = { base: baseUrl(query.url), query, stop };
  const answer = await get(http, `api/traces/${traceId}`);
  if (answer !== undefined) return tracesOf(answer)[0];
  const newer = await get(http, `api/v3/traces/${traceId}`);
  return newer === undefined ? undefined : tracesOfV3(newer, http.base).find((trace) => trace.traceId === traceId);
}

/** Makes sure that Jaeger's API is there, of either version. @throws Problem */
export async function findJaeger(
  query: Pick<JaegerQuery, "url" | "headers" | "timeoutMs">,
  stop?: AbortSignal,
): Promise<void> {
  const http = { base: baseUrl(query.url), query, stop };
  if ((await get(http, "api/services")) === undefined && (await get(http, "api/v3/services")) === undefined)
    missing(`${http.base.href}: neither /api/services nor /api/v3/services is there; give the address of Jaeger's UI`);
}

interface Http {
  readonly base: URL;
  readonly query: Pick<JaegerQuery, "headers" | "timeoutMs"> & Partial<JaegerQuery>;
  readonly stop: AbortSignal | undefined;
}

async function askV1(http: Http, fromUs: number, toUs: number, limit: number): Promise<FetchedTrace[] | undefined> {
  const asked = new URLSearchParams({
    service: http.query.service ?? "",
    start: String(fromUs),
    end: String(toUs),
    limit: String(limit),
    lookback: "custom",
  });
  const answer = await get(http, `api/traces?${asked}`);
  return answer === undefined ? undefined : tracesOf(answer);
}

async function askV3(http: Http, fromUs: number, toUs: number, limit: number): Promise<FetchedTrace[] | undefined> {
  const time = (us: number): string =>
    `${new Date(Math.floor(us / 1000)).toISOString().slice(0, 19)}.${String(us % 1e6).padStart(6, "0")}Z`;
  const asked = new URLSearchParams({
    "query.service_name": http.query.service ?? "",
    "query.start_time_min": time(fromUs),
    "query.start_time_max": time(toUs),
    "query.num_traces": String(limit),
    "query.search_depth": String(limit),
  });
  const answer = await get(http, `api/v3/traces?${asked}`);
  return answer === undefined ? undefined : tracesOfV3(answer, http.base);
}

function tracesOfV3(answer: string, base: URL): FetchedTrace[] {
  const traces = new Map<string, ResourceSpans[]>();
  // Long answers come as several objects, one after the other.
  for (const text of answer.trim().split(/\n(?=\{)/)) {
    const { result, error } = JSON.parse(text) as { result?: unknown; error?: { message?: string } };
    if (error) throw new Problem(`${base.href}: ${error.message ?? "answered with an error"}`);
    if (result === undefined) continue;
    for (const part of decodeTraces(jsonToProto("traces", Buffer.from(JSON.stringify(result))))) {
      for (const [traceId, spans] of splitByTrace(part)) {
        const list = traces.get(traceId);
        if (list) list.push(spans);
        else traces.set(traceId, [spans]);
      }
    }
  }
  return [...traces].map(([traceId, resourceSpans]) => ({ traceId, resourceSpans }));
}

function splitByTrace({ resource, scopeSpans, schemaUrl }: ResourceSpans): Map<string, ResourceSpans> {
  const out = new Map<string, ResourceSpans>();
  for (const { scope, spans, schemaUrl: scopeUrl } of scopeSpans) {
    for (const span of spans) {
      let part = out.get(span.traceId);
      if (!part) {
        part = { resource, scopeSpans: [], schemaUrl };
        out.set(span.traceId, part);
      }
      let list = part.scopeSpans.at(-1);
      if (list?.scope !== scope) {
        list = { scope, spans: [], schemaUrl: scopeUrl };
        part.scopeSpans.push(list);
      }
      list.spans.push(span);
    }
  }
  return out;
}

function tracesOf(answer: string): FetchedTrace[] {
  const document: unknown = JSON.parse(answer);
  const { data } = document as { data?: unknown };
  if (data === null) return [];
  if (!isJaegerDocument(document)) throw new Problem("Jaeger's answer has no list of traces in `data`");
  return document.data.map((trace: JaegerTrace) => ({
    traceId: trace.traceID.toLowerCase().padStart(32, "0"),
    resourceSpans: resourceSpansOf({ data: [trace] }),
  }));
}

/** The answer's text; undefined for 404 and for a page that is no JSON (the UI answers so for paths that it does not know). */
async function get({ base, query, stop }: Http, path: string): Promise<string | undefined> {
  const url = new URL(path, base);
  try {
    const signals = [AbortSignal.timeout(query.timeoutMs), ...(stop ? [stop] : [])];
    const response = await fetch(url, {
      headers: { accept: "application/json", ...query.headers },
      signal: AbortSignal.any(signals),
    });
    const text = await response.text();
    if (response.status === 404 || (response.ok && !/^\s*[{[]/.test(text))) return undefined;
    if (!response.ok)
      throw new Problem(
        `${url.href}: answered ${response.status} ${text.slice(0, MOST_EXCERPT).replace(/\s+/g, " ").trim()}`,
      );
    return text;
  } catch (error) {
    stop?.throwIfAborted();
    if (error instanceof Problem) throw error;
    throw new Problem(
      `${base.href}: ${reasonOf((error as { cause?: unknown }).cause ?? error)}; is Jaeger's UI there?`,
    );
  }
}

function baseUrl(text: string): URL {
  try {
    const url = new URL(text);
    if (url.protocol === "http:" || url.protocol === "https:") {
      if (!url.pathname.endsWith("/")) url.pathname += "/";
      url.search = "";
      url.hash = "";
      return url;
    }
  } catch {
    // said below
  }
  throw new Problem(`${text}: no address of Jaeger's UI; give it as http://HOST:16686`);
}

function missing(message: string): never {
  throw new Problem(message);
}
