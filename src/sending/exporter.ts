import type { CallContext, Component, Consumer, Consumers, Host, Settings } from "../kernel/api.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { storageOf } from "../kernel/storage.ts";
import type { OtlpBatch, Signal } from "../pdata/payload.ts";
import { DeadLetterFolder } from "./dead-letter.ts";
import { type Division, type FailedPart, sendDividing } from "./divide.ts";
import { DurableStorage } from "./durable.ts";
import { settleFailed } from "./given-up.ts";
import { SendingQueue } from "./queue.ts";
import type { QueueConfig } from "./queue-config.ts";
import type { DeadLetterConfig, SplitConfig } from "./refused-config.ts";
import { type RetryConfig, withRetry } from "./retry.ts";
import { type AnyBatch, linkAbort, orAborted, type Sender } from "./sender.ts";
import { emptyLoad, MemoryStorage, type QueueStorage } from "./storage.ts";
import { SendingTelemetry } from "./telemetry.ts";
import { withTimeout } from "./timeout.ts";

/** What makes an exporter out of a way to send one request. */
export interface ExporterOptions {
  readonly settings: Settings;
  /** One attempt. It must settle soon after its signal aborts. */
  readonly send: Sender;
  /** Bounds each attempt; 0 or absent: the attempt bounds itself. */
  readonly timeoutMs?: number;
  /** Absent: an attempt is final. */
  readonly retry?: RetryConfig;
  /** Absent or not enabled: the caller waits for the outcome. */
  readonly queue?: QueueConfig | undefined;
  /** Absent or not enabled: what a peer refuses for good is given up whole. */
  readonly split?: SplitConfig | undefined;
  /** Absent: what a peer refuses for good is counted and forgotten. */
  readonly deadLetter?: DeadLetterConfig | undefined;
  /** Connects, opens files; a rejection aborts start-up. */
  open?(host: Host): Promise<void>;
  /** Frees what `open` made; called once, after the last send, also when `open` was never called. */
  close?(): Promise<void>;
}

/** An exporter for all three signals, each with a queue and counters of its own as in the Collector. */
export function createExporter(options: ExporterOptions): Component & { readonly consumers: Consumers } {
  return new HelpedExporter(options);
}

/**
 * Life: made -> start -> running -> shutdown: new batches are refused, retries stop waiting, queues drain -> at the
 * deadline sends are aborted and what is left is counted and said once -> closed.
 */
class HelpedExporter implements Component {
  readonly #options: ExporterOptions;
  readonly #lines = new Map<Signal, Line>();
  readonly #deadLetters: DeadLetterFolder | undefined;
  readonly consumers: Consumers;
  #host: Host | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: ExporterOptions) {
    this.#options = options;
    const { deadLetter, settings } = options;
    this.#deadLetters = deadLetter && new DeadLetterFolder(deadLetter, settings.id, settings.clock);
    const line = <S extends Signal>(signal: S): Consumer<S> => this.#line(signal);
    // Made when a pipeline asks, so that an exporter of traces shows no metrics about logs.
    this.consumers = {
      get traces() {
        return line("traces");
      },
      get metrics() {
        return line("metrics");
      },
      get logs() {
        return line("logs");
      },
    };
  }

  #line(signal: Signal): Line {
    let line = this.#lines.get(signal);
    if (!line) {
      line = new Line(this.#options, signal, this.#deadLetters);
      this.#lines.set(signal, line);
      const host = this.#host;
      if (this.#stopped) void line.shutdown(AbortSignal.abort());
      else if (host)
        line
          .start(host)
          .catch((error: unknown) => host.reportStatus({ level: "permanent", error: ConsumeError.from(error) }));
    }
    return line;
  }

  async start(host: Host): Promise<void> {
    if (this.#host) return;
    await this.#deadLetters?.open();
    await this.#options.open?.(host);
    this.#host = host;
    for (const line of this.#lines.values()) await line.start(host);
  }

  shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopped ??= (async () => {
      await Promise.all([...this.#lines.values()].map((line) => line.shutdown(deadline)));
      await this.#options.close?.();
    })();
    return this.#stopped;
  }
}

/** One signal's way to the peer. */
class Line implements Consumer<Signal> {
  readonly mutatesData = false;
  readonly #telemetry: SendingTelemetry;
  readonly #queue: SendingQueue | undefined;
  readonly #send: Sender;
  readonly #division: Omit<Division, "isKept">;
  readonly #deadLetters: DeadLetterFolder | undefined;
  readonly #stopping = new AbortController();
  /** Calls under way without a queue; shutdown waits for them. */
  readonly #direct = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #host: Host | undefined;
  /** Lost since the stop began. */
  #lost: { items: number; lastError: ConsumeError | undefined } = { items: 0, lastError: undefined };

  constructor(options: ExporterOptions, signal: Signal, deadLetters: DeadLetterFolder | undefined) {
    const { clock } = options.settings;
    const telemetry = new SendingTelemetry(options.settings, signal);
    let send = withTimeout(options.send, options.timeoutMs ?? 0, clock);
    if (options.retry)
      send = withRetry(send, options.retry, {
        clock,
        stopping: this.#stopping.signal,
        onRetry: (error, delayMs) => telemetry.retrying(error, delayMs),
      });
    this.#telemetry = telemetry;
    this.#deadLetters = deadLetters;
    if (deadLetters) telemetry.watchDeadLetters();
    this.#division = {
      maxRequests: options.split?.enabled ? options.split.max_requests : 0,
      onDivide: (error, batch) => telemetry.dividing(error, batch),
    };
    const queue = options.queue?.enabled ? options.queue : undefined;
    this.#send = telemetry.counting(send, (error) => this.#queue?.isKept(error) ?? false);
    if (!queue) return;
    this.#queue = new SendingQueue(queue, {
      clock,
      storage: this.#storage(options, queue, signal),
      send: this.#send,
      triesAgain: options.retry?.enabled === true,
      onRefused: (batch) => telemetry.enqueueFailed(batch),
      division: this.#division,
      onFailed: (failed, isAwaited) => this.#failed(failed, isAwaited),
      onLost: (items) => telemetry.unreadable(items),
    });
    telemetry.watchQueue(this.#queue);
  }

  #storage({ settings }: ExporterOptions, queue: QueueConfig, signal: Signal): QueueStorage {
    const { storage } = queue;
    if (storage === undefined) return new MemoryStorage();
    return new DurableStorage({
      signal,
      clock: settings.clock,
      openLog: () =>
        storageOf(this.#host as Host, storage).openLog({ kind: "exporter", id: settings.id, purpose: signal }),
      onReadError: (error) => this.#telemetry.readFailed(error),
    });
  }

  async start(host: Host): Promise<void> {
    this.#host = host;
    await this.#queue?.start();
  }

  async consume(batch: OtlpBatch<Signal>, call: CallContext): Promise<void> {
    if (batch.items === 0) return;
    if (this.#stopping.signal.aborted)
      throw new ConsumeError("retryable", "the exporter is shutting down", { grpcCode: 14 });
    await (this.#queue ? this.#queue.offer(batch, call.signal) : this.#sendNow(batch, call.signal));
  }

  async #sendNow(batch: AnyBatch, caller: AbortSignal | undefined): Promise<void> {
    const link = linkAbort(this.#abort.signal, caller);
    const work = this.#deliver(batch, link.signal);
    this.#direct.add(work);
    try {
      await work;
    } finally {
      this.#direct.delete(work);
      link.release();
    }
  }

  /** @throws ConsumeError when not all of it was delivered */
  async #deliver(batch: AnyBatch, signal: AbortSignal): Promise<void> {
    const { failed } = await sendDividing(this.#send, [batch], signal, { ...this.#division, isKept: () => false });
    const last = failed.at(-1);
    if (!last) return;
    await this.#failed(failed, true);
    throw last.failure;
  }

  async #failed(failed: readonly FailedPart[], isAwaited: boolean): Promise<void> {
    const loss = await settleFailed(failed, this.#telemetry, this.#deadLetters);
    // Who waits is told, and says it.
    if (!loss || isAwaited) return;
    const { items, lastError } = loss;
    if (this.#stopping.signal.aborted) this.#lost = { items: this.#lost.items + items, lastError };
    else this.#telemetry.dropped(lastError, items);
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort();
    const direct = Promise.allSettled(this.#direct);
    await orAborted(direct, deadline).catch(() => {
      this.#abort.abort(new ConsumeError("retryable", "the exporter was shut down before an answer came"));
      return direct;
    });
    const unsent = (await this.#queue?.shutdown(deadline)) ?? emptyLoad;
    if (this.#queue?.isDurable) this.#telemetry.kept(unsent);
    else this.#telemetry.stopped(unsent, this.#lost);
  }
}
