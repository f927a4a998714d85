import type { Settings } from "../../kernel/api.ts";
import { formatId } from "../../kernel/id.ts";
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";

/** Why a batch was sent: it was full, it was old, the processor was idle, nothing more came, or the processor stops. */
export type Trigger = "size" | "timeout" | "idle" | "quiet" | "shutdown";

/** The Collector's buckets (batchprocessor/metadata.yaml). */
const SIZES = [
  ...[10, 25, 50, 75, 100, 250, 500, 750, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000],
  ...[20_000, 30_000, 50_000, 100_000],
];
const SIZES_BYTES = Array.from({ length: 18 }, (_, power) => 128 * 2 ** power);

/** The metrics of one batch processor: the Collector's names, and one for the triggers it does not have. */
export class BatchTelemetry {
  readonly #count: (trigger: Trigger) => void;
  readonly #observe: (batch: OtlpBatch<Signal>) => void;

  /** @param cardinality how many combinations of metadata values there are now. */
  constructor(settings: Settings, cardinality: () => number) {
    const { metrics } = settings;
    const labels = { processor: formatId(settings.id) };
    const bySize = metrics.counter(
      "otelcol_processor_batch_batch_size_trigger_send",
      "Number of times the batch was sent due to a size trigger",
      ["processor"],
    );
    const byTimeout = metrics.counter(
      "otelcol_processor_batch_timeout_trigger_send",
      "Number of times the batch was sent due to a timeout trigger",
      ["processor"],
    );
    const early = metrics.counter(
      "omnishim_processor_batch_early_trigger_send",
      "Number of times the batch was sent before it was full or old, because senders wait for the answer",
      ["processor", "reason"],
    );
    const size = metrics.histogram("otelcol_processor_batch_batch_send_size", "Number of units in the batch", SIZES, [
      "processor",
    ]);
    const bytes = metrics.histogram(
      "otelcol_processor_batch_batch_send_size_bytes",
      "Number of bytes in batch that was sent",
      SIZES_BYTES,
      ["processor"],
    );
    metrics.observed(
      "otelcol_processor_batch_metadata_cardinality",
      "Number of distinct metadata value combinations being processed",
      cardinality,
      labels,
    );
    bySize.add(0, labels);
    byTimeout.add(0, labels);
    this.#count = (trigger) => {
      if (trigger === "size") bySize.add(1, labels);
      else if (trigger === "timeout") byTimeout.add(1, labels);
      else early.add(1, { ...labels, reason: trigger });
    };
    this.#observe = (batch) => {
      size.observe(batch.items, labels);
      bytes.observe(batch.bytes.length, labels);
    };
  }

  /** One flush, in so many requests. */
  flushed(trigger: Trigger, parts: readonly OtlpBatch<Signal>[]): void {
    this.#count(trigger);
    for (const part of parts) this.#observe(part);
  }
}
