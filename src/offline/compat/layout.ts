/**
 * The spans that log_to_jaeger.py makes of a request, as its output of March 2026 shows them (test/fixtures/captures/
 * log-to-jaeger): 24 named spans and one for each pair of neighbouring actions inside P running and D running. Each has
 * its own "service", a blank operation name, and for parent the span before it rather than the one around it.
 */
import { ENGINE_ACTIONS, PROXY_ACTIONS, type Role } from "../../omni/actions.ts";
import type { ProxyRequest } from "../../omni/proxy-request.ts";

/** The 37 actions in the script's order; its span table refers to them by position. */
const ACTIONS: readonly string[] = [
  "Start to schedule",
  "Time received",
  "Enter state tokenization",
  "Enter state APC matching",
  "Enter state P waiting",
  "Enter state P scheduled",
  "Enter state P running",
  "PD api server get request",
  "Start process request in prefill engine",
  "Prefill add waiting queue",
  "try to schedule in waiting queue",
  "Prefill get new_blocks",
  "success add to seq groups",
  "Prefill start execute_model",
  "Prefill done execute_model",
  "Start to send output in prefill stage",
  "Finish prefill pickle and start response",
  "Finish P running",
  "Enter state D waiting",
  "Enter state D scheduled",
  "Enter state D running",
  "Enter decode to generate",
  "Start to dispatch decode request",
  "Add need pulling sequence",
  "Start pull kv",
  "Finish pull kv",
  "Start append running sequece for decode",
  "Start to send output",
  "First decode output token",
  "Second decode output token",
  "Third decode output token",
  "Finish decode pickle and start response",
  "Proxy got first token",
  "Prefill free kv blocks",
  "Proxy got second token",
  "Proxy got third token",
  "Received all tokens",
];
const FIRST = 0;
const RECEIVED = 1;
const LAST = ACTIONS.length - 1;

/** How a span hangs: in the chain; in the chain with its small spans below it; behind TTFT; or below "Add to need pulling". */
type Hanging = "chain" | "holder" | "tokens" | "freeing";

const NAMED: readonly (readonly [from: number, to: number, name: string, hanging: Hanging])[] = [
  [0, 36, "Trace for Omni Proxy", "chain"],
  [0, 32, "TTFT", "chain"],
  [0, 16, "Prefill", "chain"],
  [0, 1, "Proxy received request", "chain"],
  [1, 2, "Process request", "chain"],
  [2, 3, "Tokenizer", "chain"],
  [3, 4, "APC matching", "chain"],
  [4, 5, "P waiting", "chain"],
  [5, 6, "P scheduled", "chain"],
  [6, 16, "P running", "chain"],
  [7, 12, "Add to running for prefill", "holder"],
  [12, 14, "Prefill execute_model", "holder"],
  [14, 16, "Send output in prefill stage", "holder"],
  [16, 17, "Finish P running and return to proxy", "chain"],
  [18, 19, "D waiting", "chain"],
  [19, 20, "D scheduled", "chain"],
  [20, 31, "D running", "chain"],
  [21, 23, "Add to need pulling for decode", "holder"],
  [23, 25, "Pull kv", "holder"],
  [26, 31, "Send output in decode stage", "holder"],
  [25, 33, "Prefill free kv", "freeing"],
  [32, 34, "TPOT1", "tokens"],
  [34, 35, "TPOT2", "tokens"],
  [35, 36, "Received all tokens", "tokens"],
];
/** Neighbours that make a small span: those inside P running and inside D running. */
const SMALL: readonly (readonly [from: number, to: number])[] = [
  [6, 16],
  [20, 31],
].flatMap(([from, to]) =>
  Array.from({ length: (to as number) - (from as number) }, (_, i): [number, number] => [
    (from as number) + i,
    (from as number) + i + 1,
  ]),
);
/** Names of all spans, which are different from one another, in the layout's order. */
export const ORDER: readonly string[] = [
  ...NAMED.map(([, , name]) => name),
  ...SMALL.map(([, to]) => ACTIONS[to] as string),
];
const FREED_BELOW = "Add to need pulling for decode";

/** Operation names that are not blank, by position of the span's actions; the root's is the request id. */
const OPERATIONS: ReadonlyMap<string, string> = new Map([
  ["16,17", "Send from P node to Omni proxy"],
  ["6,7", "Send from Omni proxy to P nodes"],
  ["20,21", "Send from Omni proxy to D node"],
]);

/** A span of the layout. Times are unix seconds as Python's floats have them. */
export interface CompatSpan {
  readonly name: string;
  readonly operation: string;
  readonly startAction: string;
  readonly endAction: string;
  readonly role: string;
  readonly ip: string;
  readonly start: number;
  readonly end: number;
  /** Position of the parent in the list; -1 for none. */
  parent: number;
}

interface Stamp {
  readonly action: string;
  readonly seconds: number;
  readonly role: string;
  readonly ip: string;
}

interface Placed extends CompatSpan {
  readonly from: number;
  readonly to: number;
  readonly hanging: Hanging | "small";
}

/**
 * The request's spans in the script's order, the root first; those whose actions are not there are left out, and the
 * positions of parents are positions in this list. Unlike the script it begins a request without `Start to schedule` (a
 * client that sent its own id) at `Time received`, and ends one without an end at its last action.
 */
export function layOut(request: ProxyRequest, id: string): CompatSpan[] {
  const stamps = stampsOf(request);
  const spans: Placed[] = [];
  const add = (from: number, to: number, name: string, hanging: Placed["hanging"]): void => {
    const start = stamps[from];
    const end = stamps[to];
    if (!start || !end) return;
    spans.push({
      name,
      operation: from === FIRST && to === LAST ? id : (OPERATIONS.get(`${from},${to}`) ?? " "),
      startAction: start.action,
      endAction: end.action,
      role: end.role,
      ip: end.ip,
      start: start.seconds,
      end: Math.max(start.seconds, end.seconds),
      parent: -1,
      from,
      to,
      hanging,
    });
  };
  for (const [from, to, name, hanging] of NAMED) add(from, to, name, hanging);
  for (const [from, to] of SMALL) add(from, to, ACTIONS[to] as string, "small");
  hang(spans);
  return spans;
}

/** The 37 actions as this request had them. */
function stampsOf(request: ProxyRequest): (Stamp | undefined)[] {
  const proxy = { role: "proxy", ip: request.authority.replace(/:\d+$/, "") || "proxy" };
  const stamps = ACTIONS.map((action): Stamp | undefined => {
    const index = PROXY_ACTIONS.indexOf(action as (typeof PROXY_ACTIONS)[number]);
    if (index >= 0) {
      const us = request.unixUs(index);
      return us === undefined ? undefined : { action, seconds: us / 1e6, ...proxy };
    }
    return engineStamp(request, action);
  });
  stamps[FIRST] ??= stamps[RECEIVED] ?? earliest(stamps);
  stamps[LAST] ??= latest(stamps);
  return stamps;
}

function engineStamp(request: ProxyRequest, action: string): Stamp | undefined {
  const index = ENGINE_ACTIONS.indexOf(action as (typeof ENGINE_ACTIONS)[number]);
  let found: { us: number; role: Role; host: string } | undefined;
  for (const [role, { at, host }] of request.engine ?? []) {
    const us = at[index] as number;
    if (us > 0 && (!found || us < found.us)) found = { us, role, host };
  }
  return found && { action, seconds: found.us / 1e6, role: found.role, ip: found.host };
}

function earliest(stamps: readonly (Stamp | undefined)[]): Stamp | undefined {
  return pick(stamps, (a, b) => a < b);
}

function latest(stamps: readonly (Stamp | undefined)[]): Stamp | undefined {
  return pick(stamps, (a, b) => a > b);
}

function pick(stamps: readonly (Stamp | undefined)[], better: (a: number, b: number) => boolean): Stamp | undefined {
  let found: Stamp | undefined;
  for (const stamp of stamps) if (stamp && (!found || better(stamp.seconds, found.seconds))) found = stamp;
  return found;
}

/** Gives every span its parent. */
function hang(spans: Placed[]): void {
  const small = new Map<number, number>();
  for (const [index, { from, hanging }] of spans.entries()) if (hanging === "small") small.set(from, index);
  const chain = [...spans.keys()].filter((index) => isChained(spans[index] as Placed));
  chain.sort((a, b) => compare(spans[a] as Placed, spans[b] as Placed));
  for (let i = 1; i < chain.length; i++) {
    const [before, next] = [chain[i - 1] as number, chain[i] as number];
    const { from, to } = spans[before] as Placed;
    const begins = (spans[next] as Placed).from;
    // Small spans fill what lies between two of the chain, or between the beginnings of one around the other.
    (spans[next] as Placed).parent = string(spans, small, before, begins < to ? from : to, begins);
  }
  for (const [index, span] of spans.entries())
    if (span.hanging === "holder") string(spans, small, index, span.from, span.to);
  let behind = spans.findIndex(({ name }) => name === "TTFT");
  const tokens = [...spans.keys()].filter((index) => (spans[index] as Placed).hanging === "tokens");
  for (const index of tokens.sort((a, b) => (spans[a] as Placed).start - (spans[b] as Placed).start)) {
    (spans[index] as Placed).parent = Math.max(0, behind);
    behind = index;
  }
  const freeing = spans.find(({ hanging }) => hanging === "freeing");
  if (freeing)
    freeing.parent = Math.max(
      0,
      spans.findIndex(({ name }) => name === FREED_BELOW),
    );
  // What is left over has no neighbour to hang on: it hangs on the root.
  for (const [index, span] of spans.entries()) if (span.parent < 0 && index > 0) span.parent = 0;
}

/** Hangs the small spans that begin in [from, to) one on the other, the first on `parent`. @returns the last of them, or `parent` */
function string(spans: Placed[], small: ReadonlyMap<number, number>, parent: number, from: number, to: number): number {
  let last = parent;
  for (let at = from; at < to; at++) {
    const index = small.get(at);
    if (index === undefined) continue;
    (spans[index] as Placed).parent = last;
    last = index;
  }
  return last;
}

function isChained(span: Placed): boolean {
  return span.hanging === "chain" || span.hanging === "holder";
}

/** By start, the longer one first. */
function compare(a: Placed, b: Placed): number {
  return a.start - b.start || b.end - b.start - (a.end - a.start);
}
