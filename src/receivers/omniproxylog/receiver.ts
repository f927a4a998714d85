/** The component: a timer around the follower. */
import { setMaxListeners } from "node:events";
import { hostname } from "node:os";
import type { Component, Consumer, Host, Settings } from "../../kernel/api.ts";
import { storageOf } from "../../kernel/storage.ts";
import type { Timer } from "../../telemetry/clock.ts";
import type { Config } from "./config.ts";
import { Delivery } from "./delivery.ts";
import { type FileAccess, nodeFiles } from "./files.ts";
import { Follower } from "./follower.ts";
import { type Glob, parseGlob } from "./glob.ts";
import { MemoryOffsets, type OffsetStore } from "./offsets.ts";
import { RecordEncoder } from "./records.ts";
import { Slots } from "./slots.ts";
import { StoredOffsets } from "./stored-offsets.ts";
import { Telemetry } from "./telemetry.ts";

/** Batches that are read and not yet taken by the pipeline, all files together; with `max_batch_bytes` the bound on memory. */
const BATCHES_IN_FLIGHT = 16;

/** What tests put in place of the machine. */
export interface Surroundings {
  readonly files?: FileAccess;
  readonly offsets?: OffsetStore;
  readonly host?: string;
}

/** Follows log files and hands their lines on as OTLP log records. See README.md for what it does about rotation and failures. */
export class OmniProxyLogReceiver implements Component {
  readonly #config: Config;
  readonly #settings: Settings;
  readonly #telemetry: Telemetry;
  readonly #follower: Follower;
  readonly #offsets: OffsetStore;
  readonly #stop = new AbortController();
  #host: Host | undefined;
  #timer: Timer | undefined;
  #hasStarted = false;
  #ending: Promise<void> | undefined;

  constructor(config: Config, settings: Settings, next: Consumer<"logs">, surroundings: Surroundings = {}) {
    this.#config = config;
    this.#settings = settings;
    this.#telemetry = new Telemetry(settings);
    const { clock } = settings;
    const stopped = this.#stop.signal;
    setMaxListeners(0, stopped); // one for each file that waits; their number is bounded
    const host = surroundings.host ?? hostname();
    this.#offsets = surroundings.offsets ?? this.#makeOffsets();
    this.#follower = new Follower(
      surroundings.files ?? nodeFiles,
      {
        include: toGlobs(config.include),
        exclude: toGlobs(config.exclude),
        startAt: config.start_at,
        openFiles: config.max_concurrent_files,
        rotateWaitMs: config.rotate_wait,
        headBytes: config.fingerprint_size,
        lineBytes: config.max_log_size,
        lines: config.max_batch_lines,
        encoder: (path) => new RecordEncoder({ path, host, format: config.format, timezone: config.timezone }),
      },
      {
        slots: new Slots(BATCHES_IN_FLIGHT, config.max_batch_bytes),
        delivery: new Delivery(next, config.retry_on_failure, clock, this.#telemetry, stopped),
        offsets: this.#offsets,
        telemetry: this.#telemetry,
        clock,
        stopped,
      },
    );
  }

  #makeOffsets(): OffsetStore {
    const { storage } = this.#config;
    if (storage === undefined) return new MemoryOffsets();
    const { id, clock } = this.#settings;
    return new StoredOffsets({
      clock,
      stopped: this.#stop.signal,
      open: () => storageOf(this.#host as Host, storage).openMap({ kind: "receiver", id, purpose: "offsets" }),
      onFailure: (error) =>
        this.#telemetry.warn(
          "offsets",
          "how far the log files were read cannot be written down just now: waiting with the next lines",
          { storage, error },
        ),
    });
  }

  /** Files that are there now are known when this resolves: with `start_at: end` later lines are read, earlier ones not. */
  async start(host: Host): Promise<void> {
    this.#hasStarted = true;
    this.#host = host;
    this.#telemetry.reportTo((status) => host.reportStatus(status));
    const follower = this.#follower;
    this.#telemetry.observe({ openFiles: () => follower.openFiles, lagBytes: () => follower.lagBytes });
    await follower.begin();
    if (follower.knownFiles === 0)
      this.#telemetry.warn("include", "no log file is there yet: it is followed from its first line once it appears", {
        include: this.#config.include,
      });
    else
      for (const path of follower.absentAtStart)
        this.#telemetry.warn(
          path,
          "this log file is not there yet: it is followed from its first line once it appears",
          {
            path,
          },
        );
    this.#arm();
  }

  /** Finds out at once what has changed, and has it read. Resolves before it was. */
  look(): Promise<void> {
    return this.#follower.look();
  }

  /** One round at once: looks, then reads and hands on what is new. Resolves when the pipeline has taken it. */
  async poll(): Promise<void> {
    await this.look();
    await this.#follower.idle();
  }

  /** Reads what is in the files at this moment once more, for lines that were written just before; then closes them. */
  shutdown(deadline: AbortSignal): Promise<void> {
    this.#ending ??= this.#end(deadline);
    return this.#ending;
  }

  async #end(deadline: AbortSignal): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#hasStarted) {
      const isInTime = await Promise.race([this.poll().then(() => true), aborted(deadline).then(() => false)]);
      const lag = this.#follower.lagBytes;
      if (!isInTime && lag > 0)
        this.#settings.logger.warn("stopped before all log lines that were there could be handed on", { bytes: lag });
    }
    this.#stop.abort(new Error("the receiver is stopped"));
    await Promise.race([this.#follower.close(), aborted(deadline)]);
    await this.#offsets.close();
  }

  #arm(): void {
    if (this.#ending) return;
    this.#timer = this.#settings.clock.after(this.#config.poll_interval, () => {
      void this.#follower.look().then(() => this.#arm());
    });
  }
}

function toGlobs(patterns: readonly string[]): Glob[] {
  return patterns.flatMap((pattern) => {
    const globs = parseGlob(pattern, process.cwd());
    if (typeof globs === "string") throw new Error(globs); // config.ts has refused it
    return globs;
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
