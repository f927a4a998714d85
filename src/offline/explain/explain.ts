/** `omnishim explain ID SOURCE`: everything that is known of one request, and why. */
import type { Figures } from "../../omni/derive.ts";
import { LOGGED_ID_BYTES } from "../../omni/line.ts";
import type { ProxyRequest } from "../../omni/proxy-request.ts";
import { textOf } from "../../omni/request-id.ts";
import type { ResourceSpans } from "../../pdata/model.ts";
import { Census } from "../census.ts";
import { findLogs } from "../files/find-logs.ts";
import { Gatherer, gatherSettings } from "../gatherer.ts";
import { fetchTrace } from "../jaeger/client.ts";
import { Scratch } from "../numbers/scratch.ts";
import { EXIT, Problem } from "../problem.ts";
import { type Progress, ReadingNotes } from "../reading.ts";
import { REPLAY_SETTINGS } from "../replay.ts";
import type { RequestTree } from "../request-tree.ts";
import { JAEGER_TIMEOUT_MS, kindOf, playLogs, readSource, type SourceOptions } from "../source.ts";
import { textAttribute } from "../stats/request-facts.ts";
import type { OfflineTrace } from "../trace.ts";
import { linesOf, type RequestLine } from "./lines.ts";
import { StageMedians, type StageTime } from "./medians.ts";
import { decisionsOf, type JoinedFacts, missingOf, reasonsOfTree } from "./reasons.ts";

/** One request that has the id. */
export interface Explanation {
  readonly id: string;
  readonly traceId: string;
  readonly outcome: string;
  /** The request's own spans, for the picture; other requests of a client's trace are left out. */
  readonly resourceSpans: readonly ResourceSpans[];
  /** Empty where the source has no lines. */
  readonly lines: readonly RequestLine[];
  readonly moreLines: number;
  readonly decisions: readonly string[];
  readonly missing: readonly string[];
  readonly stages: readonly StageTime[];
}

export interface ExplainReport {
  readonly source: "logs" | "recording" | "jaeger";
  /** Oldest first; several when the id was used more than once. */
  readonly requests: readonly Explanation[];
}

/** Requests of one id that are explained; more are an id that everybody uses. */
const MOST_REQUESTS = 10;

interface Found {
  readonly trace: OfflineTrace;
  readonly tree: RequestTree;
}

/**
 * Explains the requests that are called `id`: as the client sent it or the proxy made it, with vLLM's prefix or without,
 * or their trace id. @throws Problem; EXIT.nothing when there is none
 */
export async function explain(
  id: string,
  source: string,
  options: SourceOptions,
  progress: Progress,
  stop?: AbortSignal,
): Promise<ExplainReport> {
  const scratch = new Scratch();
  try {
    const kind = await kindOf(source);
    const names = new Names(id);
    const medians = new StageMedians(scratch);
    const found: Found[] = [];
    const take = (trace: OfflineTrace): void => {
      for (const tree of medians.trees(trace)) {
        if (!names.fit(tree, trace.traceId)) medians.add(tree);
        else if (found.length < MOST_REQUESTS) found.push({ trace, tree });
      }
    };
    const requests =
      kind === "logs"
        ? await explainLogs(source, options, names, take, found, medians, progress, stop)
        : await explainSpans(source, options, names, take, found, medians, progress, stop);
    if (requests.length === 0) throw new Problem(`${source}: no request is called ${id}`, EXIT.nothing);
    return { source: kind, requests };
  } finally {
    progress.clear();
    scratch.close();
  }
}

/** What a request may be called by. */
class Names {
  readonly #names: ReadonlySet<string>;

  constructor(id: string) {
    const bare = id.replace(/^(?:chatcmpl|cmpl)-/, "");
    // The log has the first 36 bytes only, and the whole id where the access log or a span tells it.
    const cut = Buffer.from(bare).subarray(0, LOGGED_ID_BYTES).toString();
    this.#names = new Set([id, bare, cut, id.toLowerCase().replaceAll("-", "")]);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  fit(tree: RequestTree, traceId: string): boolean {
    return this.has(textAttribute(tree.root.attributes, "request_id")) || this.#names.has(traceId);
  }

  fitRequest(request: ProxyRequest): boolean {
    const { identity } = request;
    const names = [request.fullId, request.id].flatMap((name) => (name === undefined ? [] : [textOf(name)]));
    return names.some((name) => this.has(name)) || (identity !== undefined && this.has(identity.traceId));
  }

  /** The id as a trace id, where it can be one. */
  get traceId(): string | undefined {
    return [...this.#names].find((name) => /^[0-9a-f]{32}$/.test(name));
  }
}

async function explainLogs(
  path: string,
  options: SourceOptions,
  names: Names,
  take: (trace: OfflineTrace) => void,
  found: readonly Found[],
  medians: StageMedians,
  progress: Progress,
  stop: AbortSignal | undefined,
): Promise<Explanation[]> {
  const { logs, clocks, bytes } = await findLogs(path, options.timezone);
  const requests: { request: ProxyRequest; figures: Figures }[] = [];
  const joined = new Map<ProxyRequest, JoinedFacts[]>();
  // Lines are read twice.
  const notes = new ReadingNotes(bytes * 2, progress);
  const gatherer = new Gatherer(gatherSettings(options.otlp), take);
  const observer = new Observer(gatherer, names, requests, joined);
  await playLogs({ logs, clocks }, options, observer, gatherer, notes, stop);
  const wanted = found.flatMap(({ trace, tree }) => {
    const known = requests.find(({ request }) => request.identity?.rootSpanId === tree.root.spanId);
    return known ? [{ trace, tree, ...known }] : [];
  });
  const lines = await linesOf(
    wanted.map(({ request }) => request),
    logs,
    notes,
  );
  const rules = options.merge.roles ?? REPLAY_SETTINGS.roles;
  return wanted
    .sort((a, b) => (a.request.startUs() ?? 0) - (b.request.startUs() ?? 0))
    .map(({ trace, tree, request, figures }) => ({
      id: textOf(request.fullId ?? request.id ?? ""),
      traceId: trace.traceId,
      outcome: figures.verdict.outcome,
      resourceSpans: only(trace, tree),
      lines: lines.get(request)?.lines ?? [],
      moreLines: lines.get(request)?.more ?? 0,
      decisions: decisionsOf(request, joined.get(request) ?? [], rules),
      missing: missingOf(request, figures, options.otlp.length > 0),
      stages: medians.compare(tree),
    }));
}

/** Keeps the requests that are asked for, and what joined them. */
class Observer extends Census {
  readonly #names: Names;
  readonly #requests: { request: ProxyRequest; figures: Figures }[];
  readonly #joined: Map<ProxyRequest, JoinedFacts[]>;

  constructor(
    gatherer: Gatherer,
    names: Names,
    requests: { request: ProxyRequest; figures: Figures }[],
    joined: Map<ProxyRequest, JoinedFacts[]>,
  ) {
    super((request) => gatherer.awaits(request));
    this.#names = names;
    this.#requests = requests;
    this.#joined = joined;
  }

  override request(request: ProxyRequest, figures: Figures): void {
    super.request(request, figures);
    if (this.#names.fitRequest(request) && this.#requests.length < MOST_REQUESTS)
      this.#requests.push({ request, figures });
  }

  override merged(...[role, facts, decision]: Parameters<Census["merged"]>): void {
    super.merged(role, facts, decision);
    if (decision.kind !== "request" || !this.#names.fitRequest(decision.request)) return;
    const list = this.#joined.get(decision.request);
    if (list) list.push({ facts, decision });
    else this.#joined.set(decision.request, [{ facts, decision }]);
  }
}

async function explainSpans(
  source: string,
  options: SourceOptions,
  names: Names,
  take: (trace: OfflineTrace) => void,
  found: Found[],
  medians: StageMedians,
  progress: Progress,
  stop: AbortSignal | undefined,
): Promise<Explanation[]> {
  const { kind } = await readSource(source, options, take, progress, stop);
  if (kind === "jaeger" && found.length === 0 && names.traceId !== undefined) {
    // Older than what was looked through for the medians.
    const trace = await fetchTrace(
      { url: source, headers: options.headers, timeoutMs: JAEGER_TIMEOUT_MS },
      names.traceId,
    );
    if (trace) take({ ...trace, requests: [] });
  }
  return found.map(({ trace, tree }) => ({
    id: textAttribute(tree.root.attributes, "request_id"),
    traceId: trace.traceId,
    outcome: textAttribute(tree.root.attributes, "omni.outcome"),
    resourceSpans: only(trace, tree),
    lines: [],
    moreLines: 0,
    ...reasonsOfTree(tree),
    stages: medians.compare(tree),
  }));
}

/** The trace cut to one request. */
function only(trace: OfflineTrace, tree: RequestTree): ResourceSpans[] {
  const own = new Set(tree.spans.map(({ span }) => span));
  return trace.resourceSpans.flatMap(({ resource, scopeSpans, schemaUrl }) => {
    const kept = scopeSpans
      .map((scope) => ({ ...scope, spans: scope.spans.filter((span) => own.has(span)) }))
      .filter(({ spans }) => spans.length > 0);
    return kept.length === 0 ? [] : [{ resource, scopeSpans: kept, schemaUrl }];
  });
}
