/** The program's own log: the Collector's two encodings over pino. The only home of pino. */
import pino from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes one line an event. `message` says what happened and, when something is wrong, what to do next; `fields` are data. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line (the component's id and kind). */
  with(fields: LogFields): Logger;
}

/** `service::telemetry::logs`: the Collector's keys and defaults (level info, encoding console, stderr). */
export interface LoggerOptions {
  readonly level: LogLevel;
  readonly encoding: "console" | "json";
  readonly fields?: LogFields;
  /** Takes finished lines, newline included. */
  write(line: string): void;
}

/** Errors become {message, code}, so that JSON lines stay readable; stacks only at level debug would hide the cause, so never. */
function plain(value: unknown): unknown {
  if (value instanceof Error)
    return "code" in value && typeof value.code === "string" ? `${value.message} (${value.code})` : value.message;
  return typeof value === "bigint" ? value.toString() : value;
}

function plainFields(fields: LogFields | undefined): Record<string, unknown> {
  return fields === undefined
    ? {}
    : Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plain(value)]));
}

/** zap's console encoder as the Collector uses it: time TAB level TAB message TAB fields as JSON. */
function consoleLine(line: string): string {
  const { level, ts, msg, ...fields } = JSON.parse(line) as { level: string; ts: string; msg: string } & Record<
    string,
    unknown
  >;
  const rest = Object.keys(fields).length > 0 ? `\t${JSON.stringify(fields)}` : "";
  return `${ts}\t${level}\t${msg}${rest}\n`;
}

/** A logger that writes lines of `options.encoding` at `options.level` and above. */
export function createLogger(options: LoggerOptions): Logger {
  const sink = { write: (line: string) => options.write(options.encoding === "console" ? consoleLine(line) : line) };
  const root = pino(
    {
      level: options.level,
      base: null,
      messageKey: "msg",
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
  const wrap = (log: pino.Logger): Logger => ({
    debug: (message, fields) => log.debug(plainFields(fields), message),
    info: (message, fields) => log.info(plainFields(fields), message),
    warn: (message, fields) => log.warn(plainFields(fields), message),
    error: (message, fields) => log.error(plainFields(fields), message),
    with: (fields) => wrap(log.child(plainFields(fields))),
  });
  return wrap(options.fields ? root.child(plainFields(options.fields)) : root);
}

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {}, with: () => silentLogger };
