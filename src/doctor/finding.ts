/** What the doctor says. */

/**
 * "error": traces are lost, or the program does not start. "warning": it works, but worse than it could, or soon will not.
 * "note": something that could not be looked at. "ok": looked at, and as it should be.
 */
export type Severity = "error" | "warning" | "note" | "ok";

/** The kinds of findings; docs/doctor.md has each. */
export type CheckName =
  | "configuration"
  | "node-version"
  | "open-files"
  | "port-taken"
  | "port-unusable"
  | "bind-address"
  | "sender-endpoint"
  | "tls-to-plain"
  | "plain-to-tls"
  | "tls-certificate"
  | "grpc-to-http"
  | "http-to-grpc"
  | "jaeger-down"
  | "jaeger-without-otlp"
  | "backend-unreachable"
  | "backend-refuses"
  | "trace-not-found"
  | "backend"
  | "log-missing"
  | "log-unreadable"
  | "log-level"
  | "log"
  | "request-ids"
  | "clock"
  | "queue-disk";

/** What a check makes of the facts. */
export interface Draft {
  readonly check: CheckName;
  readonly severity: Severity;
  /** One sentence: what there is. */
  readonly found: string;
  /** What there should be; absent where nothing is wrong. */
  readonly wanted?: string;
  /** The line to change, or the command to run. */
  readonly change?: string;
  /** Key path of the setting that this is about. */
  readonly path?: readonly string[];
}

/** A place in a configuration text; lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The line as it is written, without its indentation. */
  readonly text: string;
}

/** A draft, with the place of its setting where a text of the configuration is about it. */
export interface Finding extends Omit<Draft, "path"> {
  /** "exporters::otlp::endpoint". */
  readonly key?: string;
  readonly place?: Place;
}

/** True when something has to be done. */
export function needsAction({ severity }: Pick<Draft, "severity">): boolean {
  return severity === "error" || severity === "warning";
}
