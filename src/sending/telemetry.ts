/** What every exporter measures and says: the Collector's metric names (exporterhelper/metadata.yaml) and log messages. */
import { formatDuration } from "../config/schema.ts";
import type { Settings } from "../kernel/api.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { formatId } from "../kernel/id.ts";
import type { Signal } from "../pdata/payload.ts";
import { Throttle } from "../telemetry/throttle.ts";
import type { DeadLetter } from "./dead-letter.ts";
import { TooLargeError } from "./divide.ts";
import { type AnyBatch, orAborted, type Sender } from "./sender.ts";
import type { QueueLoad } from "./storage.ts";

/** What an item of a signal is called in metric names. */
const UNITS: Readonly<Record<Signal, string>> = { traces: "spans", metrics: "metric_points", logs: "log_records" };
const WORDS: Readonly<Record<Signal, string>> = { traces: "spans", metrics: "metric points", logs: "log records" };

/** A backend that is away fails every request; one line in this time says so. */
const REPEAT_MS = 10_000;

/** Counts and speaks for one signal of one exporter. */
export class SendingTelemetry {
  readonly #settings: Settings;
  readonly #signal: Signal;
  readonly #labels: { readonly exporter: string };
  readonly #throttle: Throttle;
  #inFlight = 0;

  constructor(settings: Settings, signal: Signal) {
    this.#settings = settings;
    this.#signal = signal;
    this.#labels = { exporter: formatId(settings.id) };
    this.#throttle = new Throttle(settings.clock, REPEAT_MS);
    for (const kind of ["sent", "send_failed"] as const) this.#count(kind, 0);
    settings.metrics.observed(
      "otelcol_exporter_in_flight_requests",
      "Number of export requests currently in-flight (including retry backoff).",
      () => this.#inFlight,
      { ...this.#labels, data_type: signal },
    );
  }

  /** Exposes a queue's fill level. */
  watchQueue(queue: { readonly size: number; readonly capacity: number }): void {
    const { metrics } = this.#settings;
    const labels = { ...this.#labels, data_type: this.#signal };
    const unit = "(in units of sending_queue::sizer)";
    metrics.observed("otelcol_exporter_queue_size", `Current size of the queue ${unit}.`, () => queue.size, labels);
    metrics.observed("otelcol_exporter_queue_capacity", `Capacity of the queue ${unit}.`, () => queue.capacity, labels);
    this.#count("enqueue_failed", 0);
  }

  /**
   * Counts what the peer took of each request, after all its retries. The outcome never comes later than an abort.
   * @param isKept whether a failure leaves the batch in its queue, so that it has not failed yet
   */
  counting(next: Sender, isKept: (error: ConsumeError) => boolean): Sender {
    return async (batch, signal) => {
      this.#inFlight++;
      try {
        await orAborted(next(batch, signal), signal);
        this.#count("sent", batch.items);
      } catch (error) {
        const failure = ConsumeError.from(error);
        if (isKept(failure)) this.#stillWaiting(failure);
        throw failure;
      } finally {
        this.#inFlight--;
      }
    };
  }

  enqueueFailed(batch: AnyBatch): void {
    this.#count("enqueue_failed", batch.items);
  }

  retrying(error: ConsumeError, delayMs: number): void {
    const passed = this.#throttle.pass("retry");
    if (!passed) return;
    this.#settings.logger.info("Exporting failed. Will retry the request after interval.", {
      error,
      interval: formatDuration(Math.round(delayMs)),
      ...(passed.held > 0 ? { unlogged_failures: passed.held } : {}),
    });
  }

  /** The queue has no sender to tell any more: `items` are lost, for a cause that is said. */
  dropped(error: ConsumeError, items: number): void {
    const passed = this.#throttle.pass(error.disposition, items);
    if (!passed) return;
    this.#settings.logger.error("Exporting failed. Dropping data.", {
      error,
      dropped_items: passed.weight,
      data_type: this.#signal,
      ...(passed.held > 0 ? { unlogged_failures: passed.held } : {}),
    });
  }

  /** These items were given up for good. */
  failed(items: number): void {
    this.#count("send_failed", items);
  }

  /** A request is sent again in parts. */
  dividing(error: ConsumeError, batch: AnyBatch): void {
    const isTooLarge = error instanceof TooLargeError;
    const passed = this.#throttle.pass(isTooLarge ? "too large" : "divided");
    if (!passed) return;
    this.#settings.logger.warn(
      isTooLarge
        ? "A request is larger than the destination takes; it is sent in parts. Set send_batch_max_size of the batch processor, or raise the destination's limit (max_recv_msg_size_mib of an otlp receiver)."
        : "The destination refuses what a request holds; it is sent in parts to find what is at fault, so that the rest arrives.",
      { error, items: batch.items, bytes: batch.bytes.length, data_type: this.#signal },
    );
  }

  /** Shows the dead letters of this signal in the metrics from the start. */
  watchDeadLetters(): void {
    for (const kind of ["kept", "lost"] as const) this.#deadLetters(kind, 0);
  }

  /** The destination refused for good what now lies in the dead-letter folder. */
  keptDeadLetter({ file, items }: DeadLetter, error: ConsumeError): void {
    this.#deadLetters("kept", items);
    const passed = this.#throttle.pass("dead letter", items);
    if (!passed) return;
    this.#settings.logger.error(
      "Exporting failed. The destination refuses data for good; it is kept as a dead letter.",
      {
        error,
        kept_items: passed.weight,
        data_type: this.#signal,
        file,
        ...(passed.held > 0 ? { unlogged_failures: passed.held } : {}),
      },
    );
  }

  /** What the destination refused could not be kept either. */
  lostDeadLetter(error: unknown, items: number): void {
    this.#deadLetters("lost", items);
    const passed = this.#throttle.pass("dead letter lost", items);
    if (passed)
      this.#settings.logger.error("Dead letters cannot be kept.", {
        error,
        items: passed.weight,
        data_type: this.#signal,
      });
  }

  /** A durable batch was given up for now. */
  #stillWaiting(error: ConsumeError): void {
    const passed = this.#throttle.pass("kept");
    if (passed)
      this.#settings.logger.warn("Exporting failed for now. The data stays in the durable queue and is tried again.", {
        error,
        data_type: this.#signal,
        ...(passed.held > 0 ? { unlogged_failures: passed.held } : {}),
      });
  }

  /** A batch that was accepted cannot be read from its storage: `items` are lost. The storage has said where it stood. */
  unreadable(items: number): void {
    this.#count("send_failed", items);
    this.#settings.logger.error("Stored data is damaged. Dropping it.", {
      dropped_items: items,
      data_type: this.#signal,
    });
  }

  /** Reading from the storage failed; it is tried again. */
  readFailed(error: unknown): void {
    if (this.#throttle.pass("read"))
      this.#settings.logger.error("Stored data cannot be read just now. Trying again.", {
        error,
        data_type: this.#signal,
      });
  }

  /** The exporter stops, and a durable queue keeps `left` for the next run. */
  kept(left: QueueLoad): void {
    if (left.items === 0) return;
    this.#settings.logger.info(
      `Stopped before everything was sent: ${left.items} ${WORDS[this.#signal]} stay in the storage and are sent after the next start.`,
      { requests: left.requests, data_type: this.#signal },
    );
  }

  /** The exporter stops. `unsent` was in the queue and never tried; `failed` was tried a last time. */
  stopped(unsent: QueueLoad, failed: { readonly items: number; readonly lastError: ConsumeError | undefined }): void {
    this.#count("send_failed", unsent.items);
    const items = unsent.items + failed.items;
    if (items === 0) return;
    this.#settings.logger.error(
      `Stopped before everything was sent: ${items} ${WORDS[this.#signal]} are lost. The queue is in memory; sending_queue::storage would keep them.`,
      {
        dropped_items: items,
        never_tried: unsent.items,
        data_type: this.#signal,
        ...(failed.lastError ? { error: failed.lastError } : {}),
      },
    );
  }

  #deadLetters(kind: "kept" | "lost", items: number): void {
    const help = {
      kept: "Spans, metric points or log records that the destination refused for good and that were written to the dead-letter folder.",
      lost: "Spans, metric points or log records that the destination refused for good and that could not be written to the dead-letter folder.",
    }[kind];
    this.#settings.metrics
      .counter(`omnishim_exporter_dead_letter_${kind}_items`, help, ["exporter", "data_type"])
      .add(items, { ...this.#labels, data_type: this.#signal });
  }

  #count(kind: "sent" | "send_failed" | "enqueue_failed", items: number): void {
    const unit = UNITS[this.#signal];
    const help = {
      sent: `Number of ${WORDS[this.#signal]} successfully sent to destination.`,
      send_failed: `Number of ${WORDS[this.#signal]} in failed attempts to send to destination.`,
      enqueue_failed: `Number of ${WORDS[this.#signal]} failed to be added to the sending queue.`,
    }[kind];
    this.#settings.metrics.counter(`otelcol_exporter_${kind}_${unit}`, help, ["exporter"]).add(items, this.#labels);
  }
}
