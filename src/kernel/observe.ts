/**
 * Counts what passes between components. Names are the Collector's: processorhelper's for processors, and for the
 * other edges those of its pipeline telemetry (service/documentation.md, gate telemetry.newPipelineTelemetry).
 * What a receiver got over the wire and what an exporter sent they count themselves.
 */
import type { Counter, MetricsRegistry } from "../telemetry/metrics.ts";
import type { CallContext, Consumer, Payload, Signal } from "./api.ts";

/** Wraps consumers so that what they are given is counted. */
export class Observer {
  readonly #metrics: MetricsRegistry;
  /** Errors that a component got from behind it, and so did not make itself. */
  readonly #fromDownstream = new WeakSet<object>();

  constructor(metrics: MetricsRegistry) {
    this.#metrics = metrics;
  }

  /** What `next` is given by this receiver or connector. */
  produced<S extends Signal>(kind: "receiver" | "connector", id: string, signal: S, next: Consumer<S>): Consumer<S> {
    const counter = this.#outcomes(`otelcol_${kind}_produced_items`, `Number of items emitted from the ${kind}.`, kind);
    return this.#counting(next, counter, { [kind]: id, otel_signal: signal }, true);
  }

  /** What this connector or exporter is given. */
  consumed<S extends Signal>(kind: "connector" | "exporter", id: string, signal: S, self: Consumer<S>): Consumer<S> {
    const counter = this.#outcomes(`otelcol_${kind}_consumed_items`, `Number of items passed to the ${kind}.`, kind);
    return this.#counting(self, counter, { [kind]: id, otel_signal: signal }, false);
  }

  /** What this processor is given. */
  incoming<S extends Signal>(id: string, signal: S, self: Consumer<S>): Consumer<S> {
    const name = "otelcol_processor_incoming_items";
    return this.#passing(self, name, "Number of items passed to the processor.", {
      processor: id,
      otel_signal: signal,
    });
  }

  /** What this processor hands on. */
  outgoing<S extends Signal>(id: string, signal: S, next: Consumer<S>): Consumer<S> {
    const name = "otelcol_processor_outgoing_items";
    return this.#passing(next, name, "Number of items emitted from the processor.", {
      processor: id,
      otel_signal: signal,
    });
  }

  #outcomes(name: string, help: string, kind: string): Counter {
    return this.#metrics.counter(name, help, [kind, "otel_signal", "otelcol_component_outcome"]);
  }

  #counting<S extends Signal>(
    inner: Consumer<S>,
    counter: Counter,
    labels: Readonly<Record<string, string>>,
    isProduced: boolean,
  ): Consumer<S> {
    const success = { ...labels, otelcol_component_outcome: "success" };
    const failure = { ...labels, otelcol_component_outcome: "failure" };
    const refused = { ...labels, otelcol_component_outcome: "refused" };
    const fromDownstream = this.#fromDownstream;
    return {
      mutatesData: inner.mutatesData,
      async consume(batch: Payload[S], call: CallContext): Promise<void> {
        // The batch itself is let go of while it is waited for.
        const { items } = batch;
        try {
          await inner.consume(batch, call);
        } catch (error) {
          const passedOn = typeof error === "object" && error !== null && fromDownstream.has(error);
          counter.add(items, isProduced || passedOn ? refused : failure);
          if (isProduced && typeof error === "object" && error !== null) fromDownstream.add(error);
          throw error;
        }
        counter.add(items, success);
      },
    };
  }

  #passing<S extends Signal>(
    inner: Consumer<S>,
    name: string,
    help: string,
    labels: Readonly<Record<string, string>>,
  ): Consumer<S> {
    const counter = this.#metrics.counter(name, help, Object.keys(labels));
    return {
      mutatesData: inner.mutatesData,
      consume(batch: Payload[S], call: CallContext): Promise<void> {
        counter.add(batch.items, labels);
        return inner.consume(batch, call);
      },
    };
  }
}
