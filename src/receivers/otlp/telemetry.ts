/** What the receiver counts and logs: receiverhelper's instruments, and one of our own for what never became a batch. */
import type { Settings, Signal } from "../../kernel/api.ts";
import { formatId } from "../../kernel/id.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { Counter, Labels } from "../../telemetry/metrics.ts";
import { Throttle } from "../../telemetry/throttle.ts";

/** As the `transport` label has it. */
export type Protocol = "grpc" | "http";

const ITEMS: { readonly [S in Signal]: readonly [suffix: string, words: string] } = {
  traces: ["spans", "spans"],
  metrics: ["metric_points", "metric points"],
  logs: ["log_records", "log records"],
};

interface SignalCounters {
  readonly accepted: Counter;
  readonly refused: Counter;
}

/** The receiver's counters with their labels filled in; there are none for a signal without a pipeline. */
export class OtlpReceiverTelemetry {
  readonly #receiver: string;
  readonly #labels: { readonly [P in Protocol]: Labels };
  readonly #counters = new Map<Signal, SignalCounters>();
  readonly #rejected: Counter;
  readonly #logger: Logger;
  readonly #throttle: Throttle;

  constructor(settings: Settings, signals: readonly Signal[], protocols: readonly Protocol[]) {
    const { metrics } = settings;
    this.#logger = settings.logger;
    this.#throttle = new Throttle(settings.clock);
    this.#receiver = formatId(settings.id);
    this.#labels = {
      grpc: { receiver: this.#receiver, transport: "grpc" },
      http: { receiver: this.#receiver, transport: "http" },
    };
    for (const signal of signals) {
      const [suffix, words] = ITEMS[signal];
      const counter = (kind: string, help: string): Counter => {
        const made = metrics.counter(`otelcol_receiver_${kind}_${suffix}`, help, ["receiver", "transport"]);
        // At 0 from the start, so that a rate over a first failure can be seen.
        for (const protocol of protocols) made.add(0, this.#labels[protocol]);
        return made;
      };
      // As in the Collector, what the pipeline does not take counts as refused, and "failed" stays 0 as long as its
      // feature gate receiverhelper.newReceiverMetrics is alpha.
      counter("failed", `The number of ${words} that failed to be processed by the receiver due to internal errors.`);
      this.#counters.set(signal, {
        accepted: counter("accepted", `Number of ${words} successfully pushed into the pipeline.`),
        refused: counter("refused", `Number of ${words} that could not be pushed into the pipeline.`),
      });
    }
    this.#rejected = metrics.counter(
      "omnishim_receiver_rejected_requests",
      "Number of requests and connections that were turned away before their content was known.",
      ["receiver", "transport", "reason"],
    );
  }

  accepted(signal: Signal, protocol: Protocol, items: number): void {
    this.#counters.get(signal)?.accepted.add(items, this.#labels[protocol]);
  }

  refused(signal: Signal, protocol: Protocol, items: number): void {
    this.#counters.get(signal)?.refused.add(items, this.#labels[protocol]);
  }

  /** A request that is not one: counted, and one a minute of each kind logged. */
  malformed(signal: Signal, protocol: Protocol, peer: string | undefined, problem: string): void {
    this.rejected(protocol, "malformed");
    const held = this.#throttle.pass(`${protocol} ${signal}`)?.held;
    if (held === undefined) return;
    this.#logger.warn(`a ${protocol} request could not be read as ${signal}; its sender was told`, {
      peer,
      error: problem,
      ...(held > 0 ? { times_since_last_line: held } : {}),
    });
  }

  /** A request that the authenticator has turned away: counted, and one a minute logged. */
  unauthenticated(protocol: Protocol, error: unknown): void {
    this.rejected(protocol, "auth");
    const held = this.#throttle.pass(`${protocol} auth`)?.held;
    if (held === undefined) return;
    this.#logger.warn(`a ${protocol} request was not let in; its sender was told`, {
      error,
      ...(held > 0 ? { times_since_last_line: held } : {}),
    });
  }

  /** @param reason from a closed set. */
  rejected(protocol: Protocol, reason: string): void {
    this.#rejected.add(1, { receiver: this.#receiver, transport: protocol, reason });
  }
}
