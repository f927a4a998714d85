/** Why a request's trace is as it is, in sentences. Pure. */
import { D_RUNNING, ENGINE_ACTIONS, P_RUNNING, PROXY_ACTIONS, type Role, START } from "../../omni/actions.ts";
import { type Figures, missingActions } from "../../omni/derive.ts";
import { traceIdOf } from "../../omni/identity.ts";
import type { Placement } from "../../omni/merge.ts";
import type { ProxyRequest } from "../../omni/proxy-request.ts";
import { stepsTo, uuidTraceId } from "../../omni/request-id.ts";
import { type RoleRule, type RoleRules, tellRole } from "../../omni/span-join.ts";
import type { SpanFacts } from "../../omni/span-scan.ts";
import { attribute, type SpanData } from "../../pdata/model.ts";
import type { RequestTree } from "../request-tree.ts";
import { isVllmSpan, roleOf, textAttribute } from "../stats/request-facts.ts";

/** A vLLM span that was put under a request. */
export interface JoinedFacts {
  readonly facts: SpanFacts;
  readonly decision: Placement;
}

const RULES: Readonly<Record<RoleRule, string>> = {
  config: "its resource is configured as that",
  attribute: "its role attribute says so",
  tokens: "it made more than one token, and prefill is asked for one",
  policy: "the proxy's policy is aggregation, which has no prefill",
  overlap: "it made one token, so the running state that it overlaps more tells",
};

/** How the request came by its trace, its clock and its vLLM spans. */
export function decisionsOf(request: ProxyRequest, joined: readonly JoinedFacts[], rules: RoleRules): string[] {
  return [identity(request), clock(request), outcome(request), ...joined.map((span) => joinOf(span, rules))];
}

function identity(request: ProxyRequest): string {
  const { traceparent, identity: given } = request;
  const key = request.key();
  const traceId = given?.traceId ?? "";
  if (traceparent && traceparent.traceId === traceId)
    return traceparent.injected
      ? "trace id: of the traceparent that the proxy injected; the root has the span id that it names"
      : "trace id: of the traceparent that the client sent; the root is a child of the client's span";
  if (traceId === uuidTraceId(key.id)) return "trace id: the request id is a UUID, whose 128 bits it is";
  if (traceId === traceIdOf(key))
    return uuidTraceId(key.id) === undefined
      ? "trace id: hash of connection, request id and time, because the request id is no UUID"
      : "trace id: hash of connection, request id and time, because the UUID was used by an earlier request";
  return "trace id: of a vLLM span of this request, whose own parent or early departure gave it";
}

function clock(request: ProxyRequest): string {
  const estimate = request.clockEstimate();
  if (!estimate) return "clock: its stamps are unix time";
  const from = request.has(START)
    ? "it has Start to schedule in unix time"
    : request.injectedStartUs > 0
      ? "it has an injected start_time in unix time"
      : "other requests of this boot told the offset";
  return `clock: boot time + ${(estimate.offsetUs / 1e6).toFixed(6)} s, within ${formatMs(estimate.uncertaintyUs)} (${from})`;
}

function outcome(request: ProxyRequest): string {
  const status = request.status > 0 ? `HTTP status ${request.status} in the access log` : "no access-log row";
  const lines = request.failures.map(({ text }) => `"${text}"`);
  return `outcome: ${lines.length > 0 ? `failure lines ${lines.join(", ")}` : "no failure line"}; ${status}; ${request.ended ? "it has its end" : "it has no end"}`;
}

function joinOf({ facts, decision }: JoinedFacts, rules: RoleRules): string {
  const service = facts.resource.attributes.get("service.name") ?? "";
  const span = `span ${facts.spanId}${service === "" ? "" : ` of ${service}`}`;
  const key = decision.request.id ?? "";
  const steps = stepsTo(facts.requestId, key);
  const id =
    steps === undefined
      ? `joined by an alias line: its id ${facts.requestId} is vLLM's own`
      : steps.length === 0
        ? "joined: its id is the request's"
        : `joined: its id ${facts.requestId} is the request's, ${steps.join(", ")}`;
  if (decision.kind === "remembered") return `${span}: ${id}; it came after the request was sent`;
  const told = tellRole({ facts, startUs: facts.startUs, endUs: facts.endUs }, decision.request, rules, true);
  const role =
    told === undefined || told === "wait" ? "no rule tells its role" : `${told.role}, because ${RULES[told.rule]}`;
  const under = decision.under === undefined ? "the root" : decision.under === "prefill" ? "P running" : "D running";
  return `${span}: ${id}; ${role}; under ${under}`;
}

/** What the request's trace lacks, and why as far as the log tells. */
export function missingOf(request: ProxyRequest, figures: Figures, spansGiven: boolean): string[] {
  const out: string[] = [];
  const missing = missingActions(request);
  if (missing.length > 0) out.push(`actions ${missing.join(", ")}: ${whyActions(request, figures)}`);
  if (!request.has(START) && !request.fromRow)
    out.push(
      `action ${PROXY_ACTIONS[START]}: the client sent the request id, and the proxy writes this line only when it makes one`,
    );
  for (const role of ["prefill", "decode"] as const) {
    const wanted = request.has(role === "prefill" ? P_RUNNING : D_RUNNING);
    const joined = role === "prefill" ? request.joinedPrefill : request.joinedDecode;
    if (wanted && joined === 0) out.push(`vLLM's span of ${role}: ${whySpan(request, figures, role, spansGiven)}`);
    const engine = request.engine?.get(role);
    if (request.engine && wanted && !engine) out.push(`omnilogger lines of ${role}: none names this request`);
    const lacking = engine && countLacking(engine.at, role);
    if (lacking) out.push(`omnilogger lines of ${role}: ${lacking}`);
  }
  return out;
}

function countLacking(at: readonly number[], role: Role): string | undefined {
  const prefillCount = ENGINE_ACTIONS.indexOf("Enter decode to generate");
  const names = ENGINE_ACTIONS.filter((_, index) =>
    role === "prefill" ? index < prefillCount : index >= prefillCount && index < ENGINE_ACTIONS.length - 1,
  ).filter((name) => at[ENGINE_ACTIONS.indexOf(name)] === 0);
  return names.length === 0 ? undefined : `${names.join(", ")} not written`;
}

function whyActions(request: ProxyRequest, { verdict }: Figures): string {
  if (request.fromRow) return "the log's level leaves action lines out; only the access log tells of this request";
  switch (verdict.outcome) {
    case "prefill_failed":
    case "rejected":
    case "timeout":
    case "client_disconnected":
      return request.has(D_RUNNING)
        ? `the request ended in decode (${verdict.outcome})`
        : `the request ended in prefill (${verdict.outcome})`;
    case "decode_failed":
      return "decode failed before a token came";
    case "incomplete":
      return "the log ends, or the request hangs, before they were written";
    case "ok":
      return "the log does not have these lines";
  }
}

function whySpan(request: ProxyRequest, { verdict }: Figures, role: Role, spansGiven: boolean): string {
  if (request.traceparent?.sampled === false) return "the traceparent says not sampled, so vLLM exports nothing";
  if (!spansGiven) return "no recorded spans were given (--otlp)";
  if (verdict.outcome === "client_disconnected")
    return "the client left, and vLLM makes no span of a request that is aborted";
  if (verdict.outcome === "rejected") return "vLLM makes no span of a request that it refuses";
  if (verdict.outcome !== "ok") return `the request did not end well (${verdict.outcome})`;
  return `none of the recorded spans has this request's id in the time of ${role}; is --otlp-traces-endpoint set on every instance?`;
}

/** The same from a merged trace alone, where no line is at hand. */
export function reasonsOfTree({ root, spans }: RequestTree): { decisions: string[]; missing: string[] } {
  const decisions: string[] = [];
  for (const placed of spans) {
    const { span } = placed;
    if (!isVllmSpan(span)) continue;
    const role = roleOf(placed);
    const moved = textAttribute(span.attributes, "omni.original_trace_id");
    decisions.push(
      `span ${span.spanId}: ${role === "proxy" ? "no rule told its role" : `joined as ${role}`}${moved === "" ? "" : `; moved here from trace ${moved}`}${linkOf(span)}`,
    );
  }
  const missing: string[] = [];
  const lacking = attribute(root.attributes, "omni.missing_actions");
  if (Array.isArray(lacking) && lacking.length > 0) missing.push(`actions ${lacking.join(", ")}`);
  else if (typeof lacking === "string" && lacking !== "") missing.push(`actions ${lacking}`);
  if (attribute(root.attributes, "omni.incomplete") === true)
    missing.push("the end: the log had none when the trace was sent");
  for (const [state, role] of [
    ["P running", "prefill"],
    ["D running", "decode"],
  ] as const) {
    const has = spans.some((placed) => isVllmSpan(placed.span) && roleOf(placed) === role);
    if (spans.some(({ span }) => span.name === state) && !has) missing.push(`vLLM's span of ${role}`);
  }
  return { decisions, missing };
}

function linkOf(span: SpanData): string {
  const [link] = span.links;
  return link === undefined ? "" : `; its old parent was span ${link.spanId} of trace ${link.traceId}`;
}

function formatMs(us: number): string {
  return `${(us / 1000).toFixed(3)} ms`;
}
