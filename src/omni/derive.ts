/** From a request to the spans that its log supports. Pure: what is sent follows from the request alone. */
import {
  D_RUNNING,
  D_RUNNING_SPAN,
  D_SCHEDULED,
  D_WAITING,
  END,
  FIRST_TOKEN,
  INTERVALS,
  P_FINISHED,
  P_RUNNING,
  P_RUNNING_SPAN,
  P_SCHEDULED,
  P_WAITING,
  PROXY_ACTIONS,
  RECEIVED,
  ROOT_SPAN,
  SECOND_TOKEN,
  STATES,
  TOKENIZATION,
} from "./actions.ts";
import { isError, type Verdict, verdictOf } from "./outcome.ts";
import type { Identity, ProxyRequest } from "./proxy-request.ts";
import { textOf } from "./request-id.ts";
import type { AttributeValue } from "./span-patch.ts";

/** A log-derived span. Times are unix microseconds, ids lower-case hex. */
export interface DerivedSpan {
  readonly name: string;
  readonly kind: "internal" | "server" | "client";
  readonly traceId: string;
  readonly spanId: string;
  /** "" for none. */
  readonly parentSpanId: string;
  /** True when the parent is another process's span. */
  readonly parentIsRemote: boolean;
  readonly startUs: number;
  readonly endUs: number;
  readonly attributes: readonly (readonly [key: string, value: AttributeValue])[];
  /** The status text of a failure; undefined leaves the status unset. */
  readonly error?: string | undefined;
}

/** A phase of one request and how long it took: what running medians are kept of. */
export interface Phase {
  readonly name: string;
  readonly us: number;
}

/** A request's figures, in seconds; absent where the log or vLLM does not tell. */
export interface Figures {
  readonly verdict: Verdict;
  readonly endToEnd: number;
  readonly ttft: number | undefined;
  readonly tpot: number | undefined;
  readonly prefill: number | undefined;
  readonly decode: number | undefined;
  readonly queue: number | undefined;
  /** False when the first read from upstream was the last: then ttft says nothing of tokens. */
  readonly streamed: boolean;
}

/** Actions of every request, whatever its policy. */
const ALWAYS = [RECEIVED, TOKENIZATION, D_WAITING, D_SCHEDULED, D_RUNNING, FIRST_TOKEN, END];
const WITH_PREFILL = [P_WAITING, P_SCHEDULED, P_RUNNING, P_FINISHED];

/** The request's spans: the root first, then its children in order. Needs `request.identity`. */
export function deriveSpans(
  request: ProxyRequest,
  figures: Figures,
  extra: readonly (readonly [string, AttributeValue])[],
): DerivedSpan[] {
  const identity = request.identity as Identity;
  const startUs = request.startUs() ?? 0;
  const endUs = Math.max(startUs, request.lastUs() ?? startUs);
  const { verdict } = figures;
  const root: DerivedSpan = {
    name: ROOT_SPAN,
    kind: "server",
    traceId: identity.traceId,
    spanId: identity.rootSpanId,
    parentSpanId: identity.rootParentId,
    parentIsRemote: identity.rootParentId !== "",
    startUs,
    endUs,
    attributes: [...rootAttributes(request, figures), ...extra],
    error: isError(verdict.outcome) ? verdict.text : undefined,
  };
  const child = (name: string, from: number, to: number): DerivedSpan => ({
    name,
    kind: name === P_RUNNING_SPAN || name === D_RUNNING_SPAN ? "client" : "internal",
    traceId: identity.traceId,
    spanId: request.spanId(name),
    parentSpanId: identity.rootSpanId,
    parentIsRemote: false,
    startUs: from,
    endUs: Math.max(from, to),
    attributes: childAttributes(request, name),
  });
  const spans = [root];
  for (const { name, from } of STATES) {
    const begin = request.unixUs(from);
    if (begin === undefined) continue;
    // A row writes 0 both for "at once" and for "never": what it does not tell the end of is left out.
    if (request.fromRow && from === RECEIVED && !request.has(TOKENIZATION)) continue;
    const end = stateEnd(request, from, endUs);
    if (end !== undefined) spans.push(child(name, begin, end));
  }
  for (const [role, { fromUs, toUs }] of request.promised) {
    // Its line was lost, and vLLM's span hangs under it: the span itself says when the state was.
    const name = role === "prefill" ? P_RUNNING_SPAN : D_RUNNING_SPAN;
    if (!spans.some((span) => span.name === name)) spans.push(child(name, fromUs, toUs));
  }
  const first = request.unixUs(FIRST_TOKEN);
  if (first !== undefined) spans.push(child("TTFT", startUs, first));
  for (const { name, from, to } of INTERVALS) {
    const begin = request.unixUs(from);
    const end = request.unixUs(to);
    if (begin !== undefined && end !== undefined && !(request.fromRow && to === END))
      spans.push(child(name, begin, end));
  }
  return spans;
}

/** When the state that began with `from` ended: at the next action in vocabulary order that is present. */
function stateEnd(request: ProxyRequest, from: number, lastUs: number): number | undefined {
  if (from === D_RUNNING) return lastUs;
  for (let next = from + 1; next <= END; next++) {
    const end = request.unixUs(next);
    if (end !== undefined) return end;
  }
  // Nothing follows. A span of vLLM may have been put under it already: then it lasts until the last thing seen.
  return from === P_RUNNING && request.promised.has("prefill") ? lastUs : undefined;
}

function childAttributes(request: ProxyRequest, name: string): [string, AttributeValue][] {
  if (name === P_RUNNING_SPAN && request.prefillAddress !== "") return [["server.address", request.prefillAddress]];
  if (name === D_RUNNING_SPAN && request.decodeAddress !== "") return [["server.address", request.decodeAddress]];
  return [];
}

/** Names of the actions that this kind of request should have and that were not seen. */
export function missingActions(request: ProxyRequest): string[] {
  const wanted = isAggregation(request) ? ALWAYS : [...ALWAYS, ...WITH_PREFILL].sort((a, b) => a - b);
  return wanted.filter((action) => !request.has(action)).map((action) => PROXY_ACTIONS[action] as string);
}

function isAggregation(request: ProxyRequest): boolean {
  if (request.policy !== undefined) return request.policy === "aggregation";
  return request.has(D_WAITING) && !WITH_PREFILL.some((action) => request.has(action));
}

function rootAttributes(request: ProxyRequest, figures: Figures): [string, AttributeValue][] {
  const out: [string, AttributeValue][] = [["request_id", textOf(request.fullId ?? request.id ?? "")]];
  const put = (key: string, value: AttributeValue | undefined): void => {
    if (value !== undefined && value !== "") out.push([key, value]);
  };
  const policy = request.policy ?? (isAggregation(request) ? "aggregation" : undefined);
  put("omni.pd_policy", policy);
  put("omni.outcome", figures.verdict.outcome);
  put("http.request.method", request.method);
  put("url.path", request.path);
  if (request.status > 0) put("http.response.status_code", BigInt(request.status));
  put("client.address", request.client);
  put("omni.prefill.address", request.prefillAddress);
  put("omni.decode.address", request.decodeAddress);
  put("gen_ai.operation.name", operationOf(request.path));
  usageAttributes(request, put);
  if (request.promptTokensEstimate >= 0) put("omni.proxy.prompt_tokens_estimate", BigInt(request.promptTokensEstimate));
  if (request.upstreamReads >= 0) put("omni.proxy.upstream_reads", BigInt(request.upstreamReads));
  put("omni.ttft_seconds", figures.ttft);
  put("omni.tpot_seconds", figures.tpot);
  put("omni.prefill_seconds", figures.prefill);
  put("omni.decode_seconds", figures.decode);
  put("omni.queue_seconds", figures.queue);
  const missing = missingActions(request);
  if (missing.length > 0) put("omni.missing_actions", missing);
  if (!request.ended) put("omni.incomplete", true);
  const clock = request.clockEstimate();
  if (clock) put("omni.clock.uncertainty_ms", clock.uncertaintyUs / 1000);
  return out;
}

/** The token numbers of vLLM's decode span, when exactly one lies under D running. */
function usageAttributes(request: ProxyRequest, put: (key: string, value: AttributeValue | undefined) => void): void {
  const model = request.joined.find((span) => span.model !== undefined)?.model;
  put("gen_ai.request.model", model);
  const decode = onlyDecode(request);
  if (decode?.promptTokens !== undefined) put("gen_ai.usage.prompt_tokens", BigInt(decode.promptTokens));
  if (decode?.completionTokens !== undefined) put("gen_ai.usage.completion_tokens", BigInt(decode.completionTokens));
}

function onlyDecode(request: ProxyRequest) {
  return request.joinedDecode === 1 ? request.joined.find((span) => span.role === "decode") : undefined;
}

/** gen_ai.operation.name of the semantic conventions, from vLLM's routes. */
function operationOf(path: string): string {
  if (path.endsWith("/chat/completions")) return "chat";
  if (path.endsWith("/completions")) return "text_completion";
  return path.endsWith("/embeddings") ? "embeddings" : "";
}

/** The request's durations. Needs its spans to have joined, for tpot. */
export function figuresOf(request: ProxyRequest): Figures {
  const verdict = verdictOf(request);
  const startUs = request.startUs() ?? 0;
  const lastUs = Math.max(startUs, request.lastUs() ?? startUs);
  const first = request.unixUs(FIRST_TOKEN);
  const tokens = onlyDecode(request)?.completionTokens;
  const answered = request.status < 400 && verdict.outcome !== "rejected";
  const prefill = between(request, P_RUNNING, P_FINISHED);
  const decodeFrom = request.unixUs(D_RUNNING);
  return {
    verdict,
    endToEnd: (lastUs - startUs) / 1e6,
    ttft: first !== undefined && answered ? (first - startUs) / 1e6 : undefined,
    tpot:
      first !== undefined && answered && request.ended && tokens !== undefined && tokens > 1
        ? (lastUs - first) / 1e6 / (tokens - 1)
        : undefined,
    prefill,
    decode: decodeFrom === undefined ? undefined : Math.max(0, lastUs - decodeFrom) / 1e6,
    queue: queueSeconds(request),
    streamed: request.has(SECOND_TOKEN) || request.upstreamReads > 1,
  };
}

function between(request: ProxyRequest, from: number, to: number): number | undefined {
  const begin = request.unixUs(from);
  const end = request.unixUs(to);
  return begin === undefined || end === undefined ? undefined : Math.max(0, end - begin) / 1e6;
}

/** P waiting + P scheduled + D waiting + D scheduled; undefined when none of them was seen. */
function queueSeconds(request: ProxyRequest): number | undefined {
  let sum: number | undefined;
  for (const phase of phasesOf(request)) if (QUEUE.has(phase.name)) sum = (sum ?? 0) + phase.us / 1e6;
  return sum;
}

const QUEUE = new Set(["P waiting", "P scheduled", "D waiting", "D scheduled"]);

/** The states and their lengths: the phases that omni.bottleneck chooses from. */
export function phasesOf(request: ProxyRequest): Phase[] {
  const lastUs = request.lastUs() ?? 0;
  const phases: Phase[] = [];
  for (const { name, from } of STATES) {
    const begin = request.unixUs(from);
    const end = begin === undefined ? undefined : stateEnd(request, from, lastUs);
    if (begin !== undefined && end !== undefined) phases.push({ name, us: Math.max(0, end - begin) });
  }
  return phases;
}
