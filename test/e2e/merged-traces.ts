import type { Capture, ManifestEntry } from "../kit/captures.ts";
import { readSpans, type SeenSpan } from "../kit/spans.ts";
import { type ExpectedState, expectedStates, type LoggedRequest, readLoggedRequests } from "./logged-requests.ts";
import { expectedOutcome } from "./outcomes.ts";

/** A span at the backend, as far as the checks need it; OTLP has all of it, Jaeger's API most. */
export type MergedSpan = Pick<
  SeenSpan,
  "traceId" | "spanId" | "parentSpanId" | "name" | "startUnixNano" | "endUnixNano" | "attributes"
> & { readonly service: string; readonly kind: number };

export const ROOT = "Trace for Omni Proxy";
const SERVICE = "omni-proxy";

/** A request with all that belongs to it: what its client saw, what the log says, and its root at the backend. */
export interface MergedRequest {
  readonly entry: ManifestEntry;
  /** Undefined when error.log has no Action line (log level notice). */
  readonly logged: LoggedRequest | undefined;
  readonly root: MergedSpan;
  /** vLLM's spans of this request, as they were sent. */
  readonly sent: readonly SeenSpan[];
}

export interface Checks {
  /** Whether the program was given access.log too. */
  readonly access: boolean;
  /** How far durations may be off; the log has microseconds. */
  readonly toleranceNs: number;
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
/** Ids are compared as the log has them: their first 36 bytes. */
const cut = (id: string): string => Buffer.from(id).subarray(0, 36).toString("utf8");
const seconds = (unixNano: bigint): number => Number(unixNano) / 1e9;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** vLLM's spans with a request id: those are to be joined, all others pass. */
export function sentRequestSpans(capture: Capture): SeenSpan[] {
  return capture.payloads
    .flatMap(({ bytes }) => readSpans(bytes))
    .filter((span) => span.name === "llm_request" && typeof span.attributes["gen_ai.request.id"] === "string");
}

/** Whether vLLM makes this gen_ai.request.id of a request that the proxy sent on as `id`. */
function isIdOf(genAiId: string, id: string): boolean {
  const bare = genAiId.replace(/^(?:chatcmpl|cmpl)-/, "");
  const plain = genAiId.startsWith("cmpl-")
    ? [bare.replace(/-\d+$/, ""), bare.replace(/-[0-9a-f]{16}-beam-\d+$/, "")]
    : [bare];
  return plain.some((one) => one === id || cut(one) === id);
}

/** Pairs each with the nearest that is left, the closest pairs first. */
function nearest<A, B>(left: readonly A[], right: readonly B[], distance: (a: A, b: B) => number): Map<A, B> {
  const pairs = left
    .flatMap((a) => right.map((b) => ({ a, b, far: distance(a, b) })))
    .filter(({ far }) => Number.isFinite(far))
    .sort((one, other) => one.far - other.far);
  const found = new Map<A, B>();
  const taken = new Set<B>();
  for (const { a, b } of pairs) {
    if (found.has(a) || taken.has(b)) continue;
    found.set(a, b);
    taken.add(b);
  }
  return found;
}

/**
 * Ties every captured request to its root among `spans`: by request id, and by the client's times where an id was used more
 * than once or cannot be told. `problems` gets what cannot be tied.
 */
export function tieRequests(capture: Capture, spans: readonly MergedSpan[], problems: string[]): MergedRequest[] {
  const roots = spans.filter(({ name, service }) => name === ROOT && service === SERVICE);
  if (roots.length !== capture.manifest.length)
    problems.push(`${roots.length} roots for ${capture.manifest.length} requests`);
  const idOf = (root: MergedSpan): string => cut(text(root.attributes["request_id"]));

  const entries = nearest(capture.manifest, roots, (entry, root) => {
    const id = capture.requestIds.get(entry.i);
    if (id !== undefined && cut(id) !== idOf(root)) return Number.POSITIVE_INFINITY;
    return Math.abs(seconds(root.startUnixNano) - entry.t_start) + Math.abs(seconds(root.endUnixNano) - entry.t_end);
  });
  for (const entry of capture.manifest)
    if (!entries.has(entry)) problems.push(`request ${entry.i} (${entry.note}) has no root`);

  // The n-th use of an id in the log is the n-th root of that id.
  const logged = new Map<MergedSpan, LoggedRequest>();
  const requests = readLoggedRequests(capture.errorLog);
  const byStart = [...roots].sort((a, b) => Number(a.startUnixNano - b.startUnixNano));
  for (const root of byStart) {
    const use = byStart.filter((one) => idOf(one) === idOf(root)).indexOf(root);
    const request = requests.filter(({ id }) => id === idOf(root))[use];
    if (request) logged.set(root, request);
  }

  const all = sentRequestSpans(capture);
  return [...entries].map(([entry, root]) => ({
    entry,
    root,
    logged: logged.get(root),
    sent: all.filter(
      (span) =>
        isIdOf(text(span.attributes["gen_ai.request.id"]), idOf(root)) &&
        span.startUnixNano >= root.startUnixNano - 1_000_000n &&
        span.startUnixNano <= root.endUnixNano,
    ),
  }));
}

/** Everything that is wrong with one request's trace, in words. Empty when it is exactly right. */
export function checkRequest(
  capture: string,
  request: MergedRequest,
  spans: readonly MergedSpan[],
  checks: Checks,
): string[] {
  const { entry, root, logged } = request;
  const problems: string[] = [];
  const say = (what: string): void => {
    problems.push(`request ${entry.i} (${entry.note || entry.kind}): ${what}`);
  };
  const broken = capture === "proxy-mock/seq-tokenizer-broken"; // never answered: its clients gave up, its states never ended

  const early = entry.t_start - 0.001 - seconds(root.startUnixNano);
  if (early > 0) say(`the root begins ${(early * 1e3).toFixed(3)} ms before 1 ms before the client's start`);
  const late = seconds(root.endUnixNano) - entry.t_end;
  if (!broken && Math.abs(late) > 0.02) say(`the root ends ${(late * 1e3).toFixed(3)} ms from the client's end`);
  const outcome = expectedOutcome(capture, entry, checks.access);
  if (root.attributes["omni.outcome"] !== outcome)
    say(`omni.outcome is ${String(root.attributes["omni.outcome"])}, not ${outcome}`);

  problems.push(...checkIdentity(request, spans).map((what) => `request ${entry.i} (${entry.note}): ${what}`));
  if (logged && !broken) for (const what of checkStates(request.root, logged, spans, checks.toleranceNs)) say(what);
  for (const span of request.sent) for (const what of checkSent(span, root, spans)) say(what);
  return problems;
}

/** Trace id, span id and parent of the root. */
function checkIdentity({ root, logged }: MergedRequest, spans: readonly MergedSpan[]): string[] {
  const value = logged?.traceparent?.value ?? ""; // at log level notice nothing tells it
  const told = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}$/.exec(value);
  const is = `${root.traceId}/${root.spanId} under ${root.parentSpanId || "nothing"}`;
  if (told) {
    const [, traceId, spanId = ""] = told;
    const right = logged?.traceparent?.injected
      ? root.spanId === spanId && root.parentSpanId === ""
      : root.spanId !== spanId && root.parentSpanId === spanId;
    return right && root.traceId === traceId ? [] : [`the root is ${is}, the traceparent says ${value}`];
  }
  const problems: string[] = [];
  if (root.parentSpanId !== "") problems.push(`the root is ${is}, and there was no traceparent`);
  const id = text(root.attributes["request_id"]);
  const roots = spans.filter(({ name }) => name === ROOT);
  const uses = roots.filter(({ attributes }) => attributes["request_id"] === id).length;
  if (uuid.test(id) && uses === 1 && root.traceId !== id.replaceAll("-", "").toLowerCase())
    problems.push(`the trace id is ${root.traceId}, the request id ${id}`);
  if (roots.filter(({ traceId }) => traceId === root.traceId).length !== 1)
    problems.push("shares its trace with another");
  return problems;
}

/** The log-derived spans under the root: each one that the log supports, once, with its times; no other. */
function checkStates(
  root: MergedSpan,
  logged: LoggedRequest,
  spans: readonly MergedSpan[],
  toleranceNs: number,
): string[] {
  const problems: string[] = [];
  const derived = spans.filter(
    (span) => span.traceId === root.traceId && span.parentSpanId === root.spanId && span.service === SERVICE,
  );
  const received = derived.find(({ name }) => name === "Process request")?.startUnixNano;
  if (received === undefined) return ["has no span Process request"];

  const rootStart = Number(root.startUnixNano - received) / 1e9;
  const expected: ExpectedState[] = expectedStates(logged);
  if (logged.startUnix !== undefined) {
    expected.push({ name: "Proxy received request", start: rootStart, end: 0 });
    const token = logged.at.get("Proxy got first token");
    if (token !== undefined)
      expected.push({ name: "TTFT", start: rootStart, end: token - (logged.at.get("Time received") ?? 0) });
    if (Math.abs(seconds(root.startUnixNano) - logged.startUnix) > 2e-6)
      problems.push("does not begin at Start to schedule");
  } else if (Math.abs(rootStart) * 1e9 > toleranceNs) problems.push("does not begin at Time received");
  const end = Math.max(...logged.at.values()) - (logged.at.get("Time received") ?? 0);
  const near = (unixNano: bigint, at: number): boolean =>
    Math.abs(Number(unixNano - received) - at * 1e9) <= toleranceNs;
  if (!near(root.endUnixNano, end)) problems.push(`the root does not end at its last action`);

  for (const { name, start, end } of expected) {
    const found = derived.filter((span) => span.name === name);
    const [span] = found;
    if (!span || found.length > 1) problems.push(`has ${found.length} spans ${name}`);
    else if (!near(span.startUnixNano, start) || !near(span.endUnixNano, end))
      problems.push(
        `${name} is [${Number(span.startUnixNano - received) / 1e9}, ${Number(span.endUnixNano - received) / 1e9}] s, the log says [${start}, ${end}]`,
      );
  }
  const names = new Set(expected.map(({ name }) => name));
  for (const { name } of derived)
    if (!names.has(name)) problems.push(`has a span ${name} that the log does not support`);
  return problems;
}

/** Where one of vLLM's spans of this request is to be found, and with what. */
function checkSent(span: SeenSpan, root: MergedSpan, spans: readonly MergedSpan[]): string[] {
  const role = span.resource["service.name"] === "vllm-prefill" ? "prefill" : "decode";
  const which = `the ${role} span ${span.spanId}`;
  const found = spans.filter(({ spanId, name }) => spanId === span.spanId && name === span.name);
  const [here] = found;
  if (!here || found.length > 1) return [`${which} is there ${found.length} times`];
  const problems: string[] = [];
  if (here.traceId !== root.traceId) problems.push(`${which} is in trace ${here.traceId}, the root in ${root.traceId}`);
  const home = role === "prefill" ? "P running" : "D running";
  const parent = spans.find(({ spanId, traceId }) => spanId === here.parentSpanId && traceId === here.traceId);
  if (parent?.name !== home || parent.parentSpanId !== root.spanId)
    problems.push(`${which} is under ${parent?.name ?? (here.parentSpanId || "nothing")}, not under ${home}`);
  if (here.attributes["omni.role"] !== role)
    problems.push(`${which} has omni.role ${String(here.attributes["omni.role"])}`);
  if (span.traceId !== root.traceId && here.attributes["omni.original_trace_id"] !== span.traceId)
    problems.push(`${which} does not say that it was in trace ${span.traceId}`);
  return problems;
}

/** Every problem of a capture's merged traces. */
export function checkCapture(capture: Capture, spans: readonly MergedSpan[], checks: Checks): string[] {
  const problems: string[] = [];
  const requests = tieRequests(capture, spans, problems);
  for (const request of requests) problems.push(...checkRequest(capture.name, request, spans, checks));
  const joined = new Set(requests.flatMap(({ sent }) => sent.map(({ spanId }) => spanId)));
  for (const span of sentRequestSpans(capture))
    if (!joined.has(span.spanId))
      problems.push(`no request for ${text(span.attributes["gen_ai.request.id"])} (${span.spanId})`);
  return problems;
}
