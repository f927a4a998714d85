import { linesOf } from "../kit/captures.ts";

/** A request as error.log alone tells it; times are seconds on the clock that the log used. */
export interface LoggedRequest {
  /** The id as logged: cut at 36 bytes, maybe empty. */
  readonly id: string;
  /** "Start to schedule": unix time, only where the proxy made the id. */
  readonly startUnix: number | undefined;
  /** First use of every other action, by name: seconds since boot. */
  readonly at: ReadonlyMap<string, number>;
  /** From the lines before "Time received" on its connection. */
  readonly traceparent: { readonly injected: boolean; readonly value: string } | undefined;
}

const prefix = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: (?:\*(\d+) )?(.*)$/s;
const action = /^<<<Action: ([^;]*); Timestamp:(\d+\.\d+); RequestID:(.*)$/s;
const traceHeaders =
  /^\*\*\*\*(Traceparent already exists|Action: Inject Traceparent)\*\*\*\*;.*?trace_headers:([^,]*)/s;
/** What nginx puts behind a message, then the activity that it may put before that. */
const behind = /, client: .*$/s;
const activity = / while [a-z ]*$/;

/**
 * A second reading of error.log, for tests: the program's own is src/omni. It serves the captures that are here: no id is
 * used by two requests at the same time, so a scheduler line (it has no connection number) belongs to the one request of
 * its id that waits for it.
 */
export function readLoggedRequests(errorLog: Buffer): LoggedRequest[] {
  interface Open {
    id: string;
    startUnix: number | undefined;
    at: Map<string, number>;
    traceparent: LoggedRequest["traceparent"];
  }
  const requests: Open[] = [];
  let connections = new Map<string, Open>();
  let pending = new Map<string, Pick<Open, "startUnix" | "traceparent">>();
  const waitsFor = new Map([
    ["Enter state P scheduled", "Enter state P waiting"],
    ["Enter state D scheduled", "Enter state D waiting"],
  ]);
  for (const bytes of linesOf(errorLog)) {
    const line = prefix.exec(bytes.toString("utf8").trimEnd());
    const text = line?.[2] ?? "";
    const connection = line?.[1];
    if (text.startsWith("nginx/")) {
      connections = new Map();
      pending = new Map();
    }
    const headers = connection === undefined ? null : traceHeaders.exec(text);
    if (headers && connection !== undefined)
      pending.set(connection, {
        startUnix: pending.get(connection)?.startUnix,
        traceparent: { injected: headers[1] !== "Traceparent already exists", value: headers[2] ?? "" },
      });
    const [, name, stamp, rest] = action.exec(text) ?? [];
    if (name === undefined || rest === undefined) continue;
    const time = Number(stamp);
    const id = connection === undefined ? rest : rest.replace(behind, "").replace(activity, "");
    if (connection === undefined) {
      const before = waitsFor.get(name) ?? "";
      const waiting = requests.filter((one) => one.id === id && one.at.has(before) && !one.at.has(name));
      waiting[0]?.at.set(name, time);
    } else if (name === "Start to schedule") {
      pending.set(connection, { traceparent: pending.get(connection)?.traceparent, startUnix: time });
    } else if (name === "Time received") {
      const request: Open = {
        startUnix: undefined,
        traceparent: undefined,
        ...pending.get(connection),
        id,
        at: new Map([[name, time]]),
      };
      pending.delete(connection);
      requests.push(request);
      connections.set(connection, request);
    } else {
      const request = connections.get(connection);
      if (request && !request.at.has(name)) request.at.set(name, time);
    }
  }
  return requests;
}

/** A log-derived span: its name, and when it begins and ends, in seconds since the request's "Time received". */
export interface ExpectedState {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Name, first action, and the actions of which the first that is there ends it (design: a state lasts until the next action that is present). */
const states: readonly (readonly [name: string, from: string, until: readonly string[]])[] = [
  ["Process request", "Time received", ["Enter state tokenization"]],
  [
    "Tokenizer",
    "Enter state tokenization",
    ["Enter state APC matching", "Enter state P waiting", "Enter state D waiting"],
  ],
  ["APC matching", "Enter state APC matching", ["Enter state P waiting", "Enter state D waiting"]],
  ["P waiting", "Enter state P waiting", ["Enter state P scheduled"]],
  ["P scheduled", "Enter state P scheduled", ["Enter state P running"]],
  ["P running", "Enter state P running", ["Finish P running"]],
  ["D waiting", "Enter state D waiting", ["Enter state D scheduled"]],
  ["D scheduled", "Enter state D scheduled", ["Enter state D running"]],
  ["D running", "Enter state D running", ["Received all tokens"]],
  ["TPOT1", "Proxy got first token", ["Proxy got second token"]],
  ["TPOT2", "Proxy got second token", ["Proxy got third token"]],
  ["Received all tokens", "Proxy got third token", ["Received all tokens"]],
];

/**
 * The states that this log supports, without "Proxy received request" and TTFT of requests whose id the proxy made: those
 * begin at a time of another clock (see `startUnix`).
 */
export function expectedStates({ at, startUnix }: LoggedRequest): ExpectedState[] {
  const received = at.get("Time received") ?? 0;
  const found: ExpectedState[] = [];
  const firstToken = at.get("Proxy got first token");
  if (startUnix === undefined && firstToken !== undefined)
    found.push({ name: "TTFT", start: 0, end: firstToken - received });
  for (const [name, from, until] of states) {
    const start = at.get(from);
    const last = until.find((one) => at.has(one));
    if (start !== undefined && last !== undefined)
      found.push({ name, start: start - received, end: (at.get(last) ?? 0) - received });
  }
  return found;
}
