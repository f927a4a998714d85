/** What the storage measures and says. */
import type { ComponentStatus, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { formatId } from "../../kernel/id.ts";
import type { Counter, Histogram } from "../../telemetry/metrics.ts";
import { Throttle } from "../../telemetry/throttle.ts";
import type { Budget } from "./budget.ts";

/** google.rpc.Code: what senders are told. */
const RESOURCE_EXHAUSTED = 8;
const UNAVAILABLE = 14;
/** Short, because SDKs give a whole export 10 s. */
const RETRY_AFTER_MS = 2000;
/** One line in this time says that nothing can be written. */
const REPEAT_MS = 30_000;
const COMMIT_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5];
const OUT_OF_SPACE = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Whether a write failed because nothing more fits. */
export function isOutOfSpace(error: unknown): boolean {
  return OUT_OF_SPACE.has((error as NodeJS.ErrnoException).code ?? "");
}

export class StorageTelemetry {
  readonly #settings: Settings;
  readonly #storage: string;
  readonly #budget: Budget;
  readonly #throttle: Throttle;
  readonly #damaged: Counter;
  readonly #refused: Counter;
  readonly #commits: Histogram;
  #report: (status: ComponentStatus) => void = () => {};
  #isFailing = false;

  constructor(settings: Settings, budget: Budget) {
    const { metrics } = settings;
    this.#settings = settings;
    this.#budget = budget;
    this.#storage = formatId(settings.id);
    this.#throttle = new Throttle(settings.clock, REPEAT_MS);
    const labels = { storage: this.#storage };
    metrics.observed("omnishim_storage_bytes", "Bytes that the storage holds.", () => budget.used, labels);
    metrics.observed(
      "omnishim_storage_capacity_bytes",
      "What may be used, in bytes: max_size_mib, or what the disk holds when that is less.",
      () => budget.capacity,
      labels,
    );
    this.#damaged = metrics.counter(
      "omnishim_storage_damaged_bytes",
      "Bytes that could not be read as records and were set aside or left out.",
      ["storage", "client"],
    );
    this.#refused = metrics.counter("omnishim_storage_refused_writes", "Records that could not be kept, by cause.", [
      "storage",
      "cause",
    ]);
    this.#commits = metrics.histogram(
      "omnishim_storage_commit_seconds",
      "How long it took to write a group of records and, with fsync, to have it on the disk.",
      COMMIT_BUCKETS,
      ["storage"],
    );
    for (const cause of ["full", "no_space", "error"]) this.#refused.add(0, { storage: this.#storage, cause });
  }

  /** Whom to tell of failures after the start. */
  reportTo(report: (status: ComponentStatus) => void): void {
    this.#report = report;
  }

  info(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#settings.logger.info(message, fields);
  }

  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#settings.logger.warn(message, fields);
  }

  /** Records of `client` are unreadable: `bytes` of `file`. */
  damaged(client: string, file: string, bytes: number, keptIn: string | undefined): void {
    this.#damaged.add(bytes, { storage: this.#storage, client });
    this.#settings.logger.error(
      keptIn === undefined
        ? "Stored data is damaged and cannot be read; the rest goes on. Check the disk"
        : "Stored data is damaged and was set aside; the rest goes on. Check the disk, and delete the .corrupt file when it is not needed",
      { client, file, bytes, ...(keptIn === undefined ? {} : { set_aside: keptIn }) },
    );
  }

  /** A group is safe after `seconds`. */
  committed(seconds: number): void {
    this.#commits.observe(seconds, { storage: this.#storage });
    if (!this.#isFailing) return;
    this.#isFailing = false;
    this.#report({ level: "ok" });
    this.#settings.logger.info("The storage can write again");
  }

  /** What a sender is told when what may be used is used up. */
  full(): ConsumeError {
    const { limit, capacity } = this.#budget;
    const isDisk = capacity < limit;
    this.#refused.add(1, { storage: this.#storage, cause: isDisk ? "no_space" : "full" });
    const mib = Math.floor(capacity / 1024 / 1024);
    const message = isDisk
      ? `${this.#storage}: no space left: the disk holds ${mib} MiB of it and no more`
      : `${this.#storage} is full: max_size_mib (${mib}) is used up`;
    const passed = this.#throttle.pass("full");
    if (passed)
      this.#settings.logger.warn(
        isDisk
          ? "The disk of the storage is full: new data is refused until some is delivered. Senders are told to come again; free some space"
          : "The storage is full and refuses new data until some is delivered. Senders are told to come again; raise max_size_mib if this lasts",
        {
          [isDisk ? "capacity_mib" : "max_size_mib"]: mib,
          ...(passed.held > 0 ? { unlogged_refusals: passed.held } : {}),
        },
      );
    return new ConsumeError("retryable", message, { grpcCode: RESOURCE_EXHAUSTED, retryAfterMs: RETRY_AFTER_MS });
  }

  /** What a sender is told when the file system refused a write. */
  failed(error: unknown, path: string, records: number): ConsumeError {
    const isSpace = isOutOfSpace(error);
    const cause = isSpace ? "no_space" : "error";
    this.#refused.add(records, { storage: this.#storage, cause });
    const detail = error instanceof Error ? error.message : String(error);
    const message = isSpace
      ? `${this.#storage}: no space left for ${path} (${detail})`
      : `${this.#storage}: cannot write to ${path} (${detail})`;
    const passed = this.#throttle.pass(cause, records);
    if (passed)
      this.#settings.logger.error(
        isSpace
          ? "No space is left for the storage: new data is refused until there is. Senders are told to come again; free some space"
          : "The storage cannot write: new data is refused until it can. Senders are told to come again; check the disk",
        { path, error, refused_records: passed.weight },
      );
    if (!this.#isFailing) this.#report({ level: "recoverable", error: new Error(message) });
    this.#isFailing = true;
    return new ConsumeError("retryable", message, {
      grpcCode: isSpace ? RESOURCE_EXHAUSTED : UNAVAILABLE,
      retryAfterMs: RETRY_AFTER_MS,
      cause: error,
    });
  }
}
