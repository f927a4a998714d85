import type { Settings } from "../../kernel/api.ts";
import { formatId } from "../../kernel/id.ts";
import type { Signal } from "../../pdata/payload.ts";
import type { Counter } from "../../telemetry/metrics.ts";
import type { Limiter } from "./limiter.ts";

const NAMES = { traces: "spans", metrics: "metric_points", logs: "log_records" } as const;
const WORDS = { traces: "spans", metrics: "metric points", logs: "log records" } as const;

/** What was let in and what not, under the Collector's names of today and of 0.103. */
export class LimiterTelemetry {
  readonly #labels: { readonly processor: string };
  readonly #accepted: readonly Counter[];
  readonly #refused: readonly Counter[];

  constructor(settings: Settings, signal: Signal) {
    this.#labels = { processor: formatId(settings.id) };
    const counters = (word: "accepted" | "refused", help: string): Counter[] =>
      ["otelcol_processor_memory_limiter_", "otelcol_processor_"].map((prefix) => {
        const counter = settings.metrics.counter(`${prefix}${word}_${NAMES[signal]}`, help, ["processor"]);
        counter.add(0, this.#labels);
        return counter;
      });
    this.#accepted = counters(
      "accepted",
      `Number of ${WORDS[signal]} successfully pushed into the next component in the pipeline.`,
    );
    this.#refused = counters(
      "refused",
      `Number of ${WORDS[signal]} that were rejected by the next component in the pipeline.`,
    );
  }

  accepted(items: number): void {
    for (const counter of this.#accepted) counter.add(items, this.#labels);
  }

  refused(items: number): void {
    for (const counter of this.#refused) counter.add(items, this.#labels);
  }
}

/** Declares what a limiter sees and where its limits are. */
export function observeLimiter(settings: Settings, limiter: Limiter): void {
  const { metrics, id } = settings;
  const labels = { processor: formatId(id) };
  metrics.observed("omnishim_memory_limiter_used_bytes", "Memory in use at the last look.", () => limiter.used, labels);
  metrics.observed(
    "omnishim_memory_limiter_limit_bytes",
    "From here on garbage is collected at every look (limit_mib or limit_percentage).",
    () => limiter.limits.hard,
    labels,
  );
  metrics.observed(
    "omnishim_memory_limiter_soft_limit_bytes",
    "From here on data is refused.",
    () => limiter.limits.soft,
    labels,
  );
  metrics.observed(
    "omnishim_memory_limiter_refusing",
    "1 while data is refused.",
    () => (limiter.isRefusing ? 1 : 0),
    labels,
  );
}
