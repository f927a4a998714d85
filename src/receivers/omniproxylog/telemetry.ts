/** What the receiver says about itself. */
import type { ComponentStatus, Settings } from "../../kernel/api.ts";
import { formatId } from "../../kernel/id.ts";
import type { LogFields } from "../../telemetry/logger.ts";
import type { Counter } from "../../telemetry/metrics.ts";

/** How often the same complaint about the same file is repeated. */
const REPEAT_MS = 60_000;
/** Complaints that are remembered, so that a million unreadable files cannot fill the memory. */
const MOST_COMPLAINTS = 4096;

/** What cannot be done with a path: find out what is there, or open and read it. */
type Task = "look" | "read";

/** Counters and log lines of one receiver. */
export class Telemetry {
  readonly #settings: Settings;
  readonly #labels: Readonly<Record<string, string>>;
  readonly #accepted: Counter;
  readonly #refused: Counter;
  readonly #truncations: Counter;
  readonly #rotations: Counter;
  /** Complaint -> when it was last made, on the monotonic clock. */
  readonly #said = new Map<string, number>();
  readonly #troubled = new Set<string>();
  #report: (status: ComponentStatus) => void = () => {};

  constructor(settings: Settings) {
    this.#settings = settings;
    const receiver = formatId(settings.id);
    this.#labels = { receiver };
    const { metrics } = settings;
    const flow = ["receiver", "transport"];
    this.#accepted = metrics.counter(
      "otelcol_receiver_accepted_log_records",
      "Number of log records successfully pushed into the pipeline.",
      flow,
    );
    this.#refused = metrics.counter(
      "otelcol_receiver_refused_log_records",
      "Number of log records that could not be pushed into the pipeline.",
      flow,
    );
    this.#truncations = metrics.counter(
      "omnishim_log_truncations",
      "Number of times a followed file was truncated or written anew and read from its start.",
      ["receiver"],
    );
    this.#rotations = metrics.counter(
      "omnishim_log_rotations",
      "Number of times the file behind a followed path was renamed, replaced or deleted.",
      ["receiver"],
    );
    this.#truncations.add(0, this.#labels);
    this.#rotations.add(0, this.#labels);
  }

  /** Gauges, read at each scrape. */
  observe(gauges: { openFiles(): number; lagBytes(): number }): void {
    const { metrics } = this.#settings;
    metrics.observed(
      "omnishim_log_files_open",
      "Number of log files held open.",
      () => gauges.openFiles(),
      this.#labels,
    );
    metrics.observed(
      "omnishim_log_lag_bytes",
      "Bytes that were seen in followed files and not yet handed on.",
      () => gauges.lagBytes(),
      this.#labels,
    );
  }

  /** Where recoverable trouble is reported, from start on. */
  reportTo(report: (status: ComponentStatus) => void): void {
    this.#report = report;
  }

  accepted(lines: number): void {
    this.#accepted.add(lines, { ...this.#labels, transport: "file" });
  }

  refused(lines: number, fields: LogFields): void {
    this.#refused.add(lines, { ...this.#labels, transport: "file" });
    this.#settings.logger.error("log lines were refused for good by the pipeline and are skipped", {
      lines,
      ...fields,
    });
  }

  truncated(path: string, offset: number): void {
    this.#truncations.add(1, this.#labels);
    this.#settings.logger.info("the file was truncated or written anew: reading it from its start", {
      path,
      read_until: offset,
    });
  }

  rotated(path: string): void {
    this.#rotations.add(1, this.#labels);
    this.#settings.logger.info("the file was renamed, replaced or deleted: reading what is left of it", { path });
  }

  info(message: string, fields: LogFields): void {
    this.#settings.logger.info(message, fields);
  }

  debug(message: string, fields: LogFields): void {
    this.#settings.logger.debug(message, fields);
  }

  /** A warning about `subject`, at most once a minute. */
  warn(subject: string, message: string, fields: LogFields): void {
    const key = `${subject}\n${message}`;
    const now = this.#settings.clock.monotonic();
    const last = this.#said.get(key);
    if (last !== undefined && now - last < REPEAT_MS) return;
    this.#said.delete(key);
    this.#said.set(key, now);
    const oldest = this.#said.keys().next().value;
    if (this.#said.size > MOST_COMPLAINTS && oldest !== undefined) this.#said.delete(oldest);
    this.#settings.logger.warn(message, fields);
  }

  /** `path` cannot be found out about, or read, just now: says what to do, and reports a recoverable status. */
  unreadable(task: Task, path: string, error: unknown): void {
    this.warn(path, `cannot read a log file; it is tried again: ${remedy(error)}`, { path, error });
    const isNews = this.#troubled.size === 0;
    if (this.#troubled.size < MOST_COMPLAINTS) this.#troubled.add(`${task} ${path}`);
    if (isNews) this.#report({ level: "recoverable", error: new Error(`cannot read ${path}: ${text(error)}`) });
  }

  /** That works, or is of no interest any more. */
  readable(task: Task, path: string): void {
    if (this.#troubled.delete(`${task} ${path}`) && this.#troubled.size === 0) this.#report({ level: "ok" });
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What an operator can do about an error of the file system. */
function remedy(error: unknown): string {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case "EACCES":
    case "EPERM":
      return `let user id ${process.getuid?.() ?? "of this process"} read the file and enter its folders (chmod, setfacl, or a group that owns the log)`;
    case "EMFILE":
    case "ENFILE":
      return "too many open files: raise the limit (ulimit -n, LimitNOFILE=) or lower max_concurrent_files";
    case "ELOOP":
      return "its symbolic links lead in a circle";
    default:
      return "see the error";
  }
}
