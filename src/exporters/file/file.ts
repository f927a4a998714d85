import type { Host, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { protoToJson } from "../../pdata/json.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import type { FileConfig } from "./config.ts";
import { FileWriter } from "./file-writer.ts";

const MEGABYTE = 1024 * 1024;

/** Writes each batch as one record: a line of OTLP JSON, or its length (4 bytes, big-endian) and the encoded request. */
export class FileSender {
  readonly #config: FileConfig;
  readonly #writer: FileWriter;
  #host: Host | undefined;
  #isFailing = false;

  constructor(config: FileConfig, settings: Settings) {
    const { rotation } = config;
    this.#config = config;
    this.#writer = new FileWriter({
      path: config.path,
      append: config.append,
      createDirectory: config.create_directory,
      syncEveryMs: config.flush_interval,
      rotation: rotation && {
        maxBytes: rotation.max_megabytes > 0 ? rotation.max_megabytes * MEGABYTE : Number.POSITIVE_INFINITY,
        maxDays: rotation.max_days,
        maxBackups: rotation.max_backups,
        localTime: rotation.localtime,
      },
      clock: settings.clock,
      onTrouble: (what, error) => settings.logger.warn(`${config.path}: ${what}`, { error }),
    });
  }

  /** @throws Error that names path, problem and what to do */
  async open(host: Host): Promise<void> {
    this.#host = host;
    await this.#writer.open();
  }

  /** Resolves when the system has the record. @throws ConsumeError: retryable when writing fails, permanent when the batch is unreadable */
  async send(batch: AnyBatch): Promise<void> {
    const record = this.#config.format === "json" ? jsonLine(batch) : lengthPrefixed(batch);
    try {
      await this.#writer.write(record);
    } catch (error) {
      const failure = new ConsumeError("retryable", `write ${this.#config.path}: ${messageOf(error)}`, {
        cause: error,
      });
      this.#report(failure);
      throw failure;
    }
    this.#report(undefined);
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }

  /** Tells the service when writing begins to fail, and when it works again. */
  #report(failure: ConsumeError | undefined): void {
    if ((failure !== undefined) === this.#isFailing) return;
    this.#isFailing = failure !== undefined;
    this.#host?.reportStatus(failure ? { level: "recoverable", error: failure } : { level: "ok" });
  }
}

function jsonLine(batch: AnyBatch): Buffer {
  try {
    return Buffer.from(`${protoToJson(batch.signal, batch.bytes)}\n`);
  } catch (error) {
    throw new ConsumeError("permanent", `the batch cannot be spelled in JSON: ${messageOf(error)}`, { cause: error });
  }
}

function lengthPrefixed({ bytes }: AnyBatch): Buffer {
  const record = Buffer.allocUnsafe(4 + bytes.length);
  record.writeUInt32BE(bytes.length);
  record.set(bytes, 4);
  return record;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
