/**
 * A row of the access log that omni_proxy.sh configures: looks like JSON, but its keys are unquoted; values are quoted
 * and JSON-escaped. A row is written when its request ends; it is the only trace of a request at log level `notice`,
 * which is the proxy's default.
 */
import {
  APC,
  D_RUNNING,
  D_SCHEDULED,
  D_WAITING,
  END,
  FIRST_TOKEN,
  P_FINISHED,
  P_RUNNING,
  P_SCHEDULED,
  P_WAITING,
  TOKENIZATION,
} from "./actions.ts";

export interface AccessRow {
  /** The whole X-Request-Id as a binary string (one character a byte), JSON escapes undone. */
  readonly id: string;
  /** nginx's connection number. */
  readonly connection: number;
  /** Text of the "Time received" stamp: with the connection number it names the request. */
  readonly receivedText: string;
  /** The same in microseconds, as logged. */
  readonly receivedUs: number;
  /** When the row was written and how long the request took, microseconds; nginx rounds to a millisecond. */
  readonly endUnixUs: number;
  readonly requestUs: number;
  readonly status: number;
  /** Proxy actions in microseconds after `receivedUs`, by action index; what never happened is absent. */
  readonly at: ReadonlyMap<number, number>;
  /** The decode upstream, host:port; "" when none was reached. */
  readonly upstream: string;
}

/** Column -> action: seconds after `rcved`. `latency` is the last token's time, not the end's. */
const COLUMNS: readonly (readonly [column: string, action: number])[] = [
  ["cont_rcved", TOKENIZATION],
  ["tknized", APC], // the tokens are there, APC matching begins
  ["wait_p", P_WAITING],
  ["p_sched", P_SCHEDULED],
  ["to_p", P_RUNNING],
  ["p_ed", P_FINISHED],
  ["wait_d", D_WAITING],
  ["d_sched", D_SCHEDULED],
  ["to_d", D_RUNNING],
  ["ttft", FIRST_TOKEN],
  ["latency", END],
];

const FIELD = /[{,](\w{1,64}):"((?:[^"\\]|\\.)*)"/g;

/** Reads a row; undefined where it is none of a request (probes and metrics have no `rcved`) or is malformed. */
export function parseAccessRow(line: Buffer): AccessRow | undefined {
  const fields = new Map<string, string>();
  for (const [, key, value] of line.toString("latin1").matchAll(FIELD))
    if (!fields.has(key as string)) fields.set(key as string, value as string);
  const field = (name: string): string => fields.get(name) ?? "";
  const receivedUs = micros(field("rcved"));
  const endUnixUs = micros(field("time"));
  const requestUs = micros(field("request_time"));
  const connection = Number.parseInt(field("connection_info"), 10);
  if (receivedUs === undefined || endUnixUs === undefined || requestUs === undefined || !(connection >= 0))
    return undefined;
  const at = new Map<number, number>();
  for (const [column, action] of COLUMNS) {
    const us = micros(field(column));
    if (us !== undefined && us > 0) at.set(action, us);
  }
  return {
    id: unescapeJson(field("request_id")),
    connection,
    receivedText: field("rcved"),
    receivedUs,
    endUnixUs,
    requestUs,
    status: Number.parseInt(field("status"), 10) || 0,
    at,
    upstream: field("upstream_addr").split(",", 1)[0]?.trim() ?? "",
  };
}

/** Microseconds of a decimal number of seconds; undefined for garbage and for negative ones ("-1057.377879": never happened). */
function micros(text: string): number | undefined {
  const found = /^(\d{1,11})(?:\.(\d{1,6})\d*)?$/.exec(text);
  return found ? Number(found[1]) * 1e6 + Number((found[2] ?? "").padEnd(6, "0")) : undefined;
}

/** Undoes nginx's `escape=json` on a binary string. */
function unescapeJson(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (_, hex: string | undefined, plain: string) =>
    hex === undefined
      ? ({ n: "\n", t: "\t", r: "\r", b: "\b", f: "\f" }[plain] ?? plain)
      : Buffer.from(String.fromCharCode(Number.parseInt(hex, 16))).toString("latin1"),
  );
}
