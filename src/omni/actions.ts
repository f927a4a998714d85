/**
 * The vocabulary: what Omni Proxy and the vLLM side write as `<<<Action: NAME; …`, in the order in which a request goes
 * through it, and the spans that pairs of them make. Names are upstream's (omni-proxy's C sources, log_to_jaeger.py).
 */

/** Proxy actions in vocabulary order. The value is the index in `ProxyRequest.at`. */
export const START = 0;
export const RECEIVED = 1;
export const TOKENIZATION = 2;
export const APC = 3;
export const P_WAITING = 4;
export const P_SCHEDULED = 5;
export const P_RUNNING = 6;
export const P_FINISHED = 7;
export const D_WAITING = 8;
export const D_SCHEDULED = 9;
export const D_RUNNING = 10;
export const FIRST_TOKEN = 11;
export const SECOND_TOKEN = 12;
export const THIRD_TOKEN = 13;
export const END = 14;

/** The names of the proxy's actions, at their index. */
export const PROXY_ACTIONS = [
  "Start to schedule",
  "Time received",
  "Enter state tokenization",
  "Enter state APC matching",
  "Enter state P waiting",
  "Enter state P scheduled",
  "Enter state P running",
  "Finish P running",
  "Enter state D waiting",
  "Enter state D scheduled",
  "Enter state D running",
  "Proxy got first token",
  "Proxy got second token",
  "Proxy got third token",
  "Received all tokens",
] as const;

/** Name -> index of PROXY_ACTIONS. */
export const PROXY_ACTION_INDEX: ReadonlyMap<string, number> = new Map(
  PROXY_ACTIONS.map((name, index) => [name, index]),
);

/**
 * What the vLLM side writes (omnilogger), in order. Other versions' spellings lead to the same index; names that are
 * not here ("Decode send ip, rank", "Start H2D", …) are known to exist and make no span.
 */
export const ENGINE_ACTIONS = [
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
  "Prefill free kv blocks",
] as const;

/** Name -> index of ENGINE_ACTIONS, misspellings included. */
export const ENGINE_ACTION_INDEX: ReadonlyMap<string, number> = new Map<string, number>([
  ...ENGINE_ACTIONS.map((name, index) => [name, index] as [string, number]),
  ["Secend decode output token", ENGINE_ACTIONS.indexOf("Second decode output token")],
  ["Add need pullling sequence", ENGINE_ACTIONS.indexOf("Add need pulling sequence")],
]);

export type Role = "prefill" | "decode";

/** A span between two engine actions, under P running or D running. */
export interface EngineSpan {
  readonly name: string;
  readonly role: Role;
  readonly from: number;
  readonly to: number;
}

const engine = (name: (typeof ENGINE_ACTIONS)[number]): number => ENGINE_ACTIONS.indexOf(name);

/** log_to_jaeger.py's spans (7,12) (12,14) (14,16) and (21,23) (23,25) (26,31) in its numbering. */
export const ENGINE_SPANS: readonly EngineSpan[] = [
  {
    name: "Add to running for prefill",
    role: "prefill",
    from: engine("PD api server get request"),
    to: engine("success add to seq groups"),
  },
  {
    name: "Prefill execute_model",
    role: "prefill",
    from: engine("success add to seq groups"),
    to: engine("Prefill done execute_model"),
  },
  {
    name: "Send output in prefill stage",
    role: "prefill",
    from: engine("Prefill done execute_model"),
    to: engine("Finish prefill pickle and start response"),
  },
  {
    name: "Add to need pulling for decode",
    role: "decode",
    from: engine("Enter decode to generate"),
    to: engine("Add need pulling sequence"),
  },
  { name: "Pull kv", role: "decode", from: engine("Add need pulling sequence"), to: engine("Finish pull kv") },
  {
    name: "Send output in decode stage",
    role: "decode",
    from: engine("Start append running sequece for decode"),
    to: engine("Finish decode pickle and start response"),
  },
];

export const ROOT_SPAN = "Trace for Omni Proxy";
export const P_RUNNING_SPAN = "P running";
export const D_RUNNING_SPAN = "D running";

/** A span of the request between two of its actions. */
export interface StateSpan {
  readonly name: string;
  readonly from: number;
}

/** The states in order: each lasts until the next action in vocabulary order that is present; D running until the end. */
export const STATES: readonly StateSpan[] = [
  { name: "Proxy received request", from: START },
  { name: "Process request", from: RECEIVED },
  { name: "Tokenizer", from: TOKENIZATION },
  { name: "APC matching", from: APC },
  { name: "P waiting", from: P_WAITING },
  { name: "P scheduled", from: P_SCHEDULED },
  { name: P_RUNNING_SPAN, from: P_RUNNING },
  { name: "D waiting", from: D_WAITING },
  { name: "D scheduled", from: D_SCHEDULED },
  { name: D_RUNNING_SPAN, from: D_RUNNING },
];

/** Intervals that need both their actions. TTFT, which begins where the root does, is not here. */
export const INTERVALS: readonly (StateSpan & { readonly to: number })[] = [
  { name: "TPOT1", from: FIRST_TOKEN, to: SECOND_TOKEN },
  { name: "TPOT2", from: SECOND_TOKEN, to: THIRD_TOKEN },
  { name: "Received all tokens", from: THIRD_TOKEN, to: END },
];

/** Omni Proxy's pd_policy, by the number in "enter main request handler, policy:N". */
export const POLICIES = ["sequential", "parallel", "aggregation"] as const;
export type Policy = (typeof POLICIES)[number];
