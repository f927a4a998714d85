/**
 * Which request a vLLM span belongs to, and in which role. Decisions are only made on what cannot change when more lines
 * come, so that the result does not depend on how the lines were cut into reads (docs/merge.md).
 */
import { D_RUNNING, P_RUNNING, type Role } from "./actions.ts";
import type { ProxyRequest } from "./proxy-request.ts";
import type { Remembered } from "./remembered.ts";
import { candidates, firstCandidate } from "./request-id.ts";
import type { SpanFacts } from "./span-scan.ts";

/** How far a span may begin outside its request's interval besides the clocks' uncertainty: stamps are taken a little apart. */
const SLACK_US = 2000;

const ROLES: readonly Role[] = ["prefill", "decode"];

/** resource attribute -> values that mean this role; from `request_merge::roles`. */
export type RoleRules = Readonly<Record<Role, ReadonlyMap<string, readonly string[]>>>;

export type Decision =
  | {
      readonly kind: "request";
      readonly request: ProxyRequest;
      readonly role: Role | undefined;
      /** The state that it goes under; "root"; or "kept": its own parent, because nothing tells a better one yet. */
      readonly under: Role | "root" | "kept";
    }
  | { readonly kind: "remembered"; readonly request: Remembered; readonly role: Role | undefined }
  /** Lines that are still to come may decide. */
  | { readonly kind: "wait" }
  | { readonly kind: "none"; readonly cause: "unknown_request" | "ambiguous" };

const WAIT: Decision = { kind: "wait" };

/** What is known of requests. */
export interface Known {
  live(key: string): readonly ProxyRequest[];
  remembered(key: string): readonly Remembered[];
}

/** A span to be joined, its id's candidate keys and its times on the proxy's clock. */
export class Joining {
  readonly facts: SpanFacts;
  /** The most specific of the keys; `keys[0]`. */
  readonly firstKey: string;
  /** Unix microseconds, the certain part of the instance's clock offset taken off. */
  readonly startUs: number;
  readonly endUs: number;
  /** Once it is made. */
  decision: Decision | undefined;
  readonly #alias: string | undefined;
  #keys: readonly string[] | undefined;

  /** @param alias the key that an alias line gives for the span's id; it goes before all others */
  constructor(facts: SpanFacts, shiftUs: number, alias: string | undefined) {
    this.facts = facts;
    this.startUs = facts.startUs - shiftUs;
    this.endUs = facts.endUs - shiftUs;
    this.#alias = alias;
    this.firstKey = alias ?? firstCandidate(facts.requestId);
  }

  /** All that the request may be known by, most specific first. */
  get keys(): readonly string[] {
    const own = (): string[] => candidates(this.facts.requestId);
    this.#keys ??= this.#alias === undefined ? own() : [this.#alias, ...own()];
    return this.#keys;
  }
}

/** Decides for one span. `final`: no more lines are waited for. */
export function join(span: Joining, known: Known, rules: RoleRules, final: boolean): Decision {
  const first = joinByKey(span.firstKey, span, known, rules, final);
  if (first) return first;
  const { keys } = span;
  for (let n = 1; n < keys.length; n++) {
    const decision = joinByKey(keys[n] as string, span, known, rules, final);
    if (decision) return decision;
  }
  if (!final) return WAIT;
  return strayed(span, known, rules) ?? { kind: "none", cause: "unknown_request" };
}

/** Undefined when no request of that key holds the span. */
function joinByKey(key: string, span: Joining, known: Known, rules: RoleRules, final: boolean): Decision | undefined {
  const live = thoseThat(known.live(key), (request) => holdsLive(request, span.startUs));
  const past = thoseThat(known.remembered(key), (request) => holds(request.startUs, request.endUs, 0, span.startUs));
  if (live.length + past.length === 0) return undefined;
  if (live.length + past.length > 1) return narrowed(span, live, rules, final);
  const remembered = past[0];
  return remembered
    ? { kind: "remembered", request: remembered, role: roleOfPast(span.facts, rules) }
    : place(span, live[0] as ProxyRequest, rules, final);
}

const NONE: readonly never[] = [];

/** `all.filter(wanted)`, without a new list where there is at most one, as nearly always. */
function thoseThat<T>(all: readonly T[], wanted: (one: T) => boolean): readonly T[] {
  if (all.length === 0) return all;
  if (all.length === 1) return wanted(all[0] as T) ? all : NONE;
  return all.filter(wanted);
}

function holdsLive(request: ProxyRequest, at: number): boolean {
  return (
    request.keyed && holds(request.startUs(), request.ended ? request.lastUs() : undefined, uncertainty(request), at)
  );
}

function holds(startUs: number | undefined, endUs: number | undefined, uncertainUs: number, at: number): boolean {
  if (startUs === undefined) return false;
  const slack = uncertainUs + SLACK_US;
  return at >= startUs - slack && (endUs === undefined || at <= endUs + slack);
}

function uncertainty(request: ProxyRequest): number {
  return request.clockEstimate()?.uncertaintyUs ?? 0;
}

/** One id used by several requests at once: the one whose running interval alone holds the span. */
function narrowed(span: Joining, live: readonly ProxyRequest[], rules: RoleRules, final: boolean): Decision {
  const decided = live.filter((request) => {
    const role = roleOf(span, request, rules, final);
    const interval = role === "wait" ? undefined : request.running(role ?? "decode");
    return interval !== undefined && span.startUs >= interval.from - SLACK_US && span.endUs <= interval.to + SLACK_US;
  });
  if (decided.length === 1 && (final || live.every((request) => request.ended)))
    return place(span, decided[0] as ProxyRequest, rules, final);
  return final ? { kind: "none", cause: "ambiguous" } : WAIT;
}

/** The place under a live request, once the state that it goes under is certain. */
function place(span: Joining, request: ProxyRequest, rules: RoleRules, final: boolean): Decision {
  // An open request's end may stand in a line to come, before this span's start.
  if (!final && !request.ended && request.knownUntilUs() < span.startUs + SLACK_US) return WAIT;
  const role = roleOf(span, request, rules, final);
  if (role === "wait") return WAIT;
  if (role === undefined) {
    const told = span.facts.maxTokens ?? span.facts.completionTokens;
    const unsure = told !== undefined && !request.ended && request.knownUntilUs() <= span.endUs + SLACK_US;
    return { kind: "request", request, role, under: unsure ? "kept" : "root" };
  }
  if (request.has(role === "prefill" ? P_RUNNING : D_RUNNING)) return { kind: "request", request, role, under: role };
  if (request.ended) return { kind: "request", request, role, under: "root" };
  // The span exists, so the proxy has entered the state; only the line is still to come.
  return final ? { kind: "request", request, role, under: role } : WAIT;
}

/** Which rule told a role, in order of precedence. */
export type RoleRule = "config" | "attribute" | "tokens" | "policy" | "overlap";

/**
 * By the configuration; the span's own attribute; tokens (prefill is asked for one); the policy; the running interval
 * that overlaps more. "wait" while lines to come may turn it; undefined where nothing tells.
 */
export function tellRole(
  span: Pick<Joining, "facts" | "startUs" | "endUs">,
  request: ProxyRequest,
  rules: RoleRules,
  final: boolean,
): { readonly role: Role; readonly rule: RoleRule } | "wait" | undefined {
  const configured = configuredRole(span.facts, rules);
  if (configured) return { role: configured, rule: "config" };
  const { maxTokens, completionTokens, toldRole } = span.facts;
  if (toldRole) return { role: toldRole, rule: "attribute" };
  const tokens = maxTokens ?? completionTokens;
  if (tokens === undefined) return undefined;
  if (tokens > 1) return { role: "decode", rule: "tokens" };
  if (request.policy === "aggregation") return { role: "decode", rule: "policy" };
  const settled = final || request.ended || request.knownUntilUs() > span.endUs + SLACK_US;
  if (!settled) return "wait";
  const prefill = overlap(span, request.running("prefill"));
  const decode = overlap(span, request.running("decode"));
  if (Math.abs(prefill - decode) <= uncertainty(request)) {
    // Policy parallel runs both at once. Decode was asked for more than one token, so one token is prefill's - but beam
    // search asks decode for one token at a time.
    const isPrefill = prefill > 0 && request.maxTokens > 1 && !span.facts.requestId.includes("-beam-");
    return isPrefill ? { role: "prefill", rule: "tokens" } : undefined;
  }
  return { role: prefill > decode ? "prefill" : "decode", rule: "overlap" };
}

function roleOf(span: Joining, request: ProxyRequest, rules: RoleRules, final: boolean): Role | "wait" | undefined {
  const told = tellRole(span, request, rules, final);
  return told === "wait" ? told : told?.role;
}

/** The role that the configuration gives to the span's resource. */
function configuredRole(facts: SpanFacts, rules: RoleRules): Role | undefined {
  for (const role of ROLES) {
    if (rules[role].size === 0) continue;
    for (const [key, values] of rules[role]) {
      const value = facts.resource.attributes.get(key);
      if (value !== undefined && values.includes(value)) return role;
    }
  }
  return undefined;
}

/** A late span's role: its request's lines are forgotten, so tokens tell, and one token means prefill. */
function roleOfPast(facts: SpanFacts, rules: RoleRules): Role | undefined {
  const tokens = facts.maxTokens ?? facts.completionTokens;
  return (
    configuredRole(facts, rules) ??
    facts.toldRole ??
    (tokens === undefined ? undefined : tokens > 1 ? "decode" : "prefill")
  );
}

function overlap(span: Pick<Joining, "startUs" | "endUs">, interval: { from: number; to: number } | undefined): number {
  return interval === undefined
    ? 0
    : Math.max(0, Math.min(span.endUs, interval.to) - Math.max(span.startUs, interval.from));
}

/**
 * A span outside its request's interval although nobody else has its id, and the id is a UUID: the vLLM host's clock is
 * off. Joined only when no more lines are waited for, because the id might have been used again.
 */
function strayed(span: Joining, known: Known, rules: RoleRules): Decision | undefined {
  for (const key of span.keys) {
    if (key.length !== 36) continue;
    const live = known.live(key);
    if (live.length !== 1 || known.remembered(key).length > 0) continue;
    const request = live[0] as ProxyRequest;
    if (!request.keyed) continue;
    if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(key) || request.startUs() === undefined) continue;
    const decision = place(span, request, rules, true);
    // With no overlap to go by, one token means prefill.
    const isPrefill =
      decision.kind === "request" &&
      decision.role === undefined &&
      span.facts.maxTokens === 1 &&
      request.has(P_RUNNING);
    return isPrefill ? { ...decision, role: "prefill", under: "prefill" } : decision;
  }
  return undefined;
}
