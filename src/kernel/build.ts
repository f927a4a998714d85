/** Plan -> component objects, joined: every component is created behind all that it will send to. */

import type { Clock } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { MetricsRegistry } from "../telemetry/metrics.ts";
import type {
  BuildInfo,
  Component,
  ComponentId,
  Consumer,
  Consumers,
  ServiceWatcher,
  Settings,
  Signal,
} from "./api.ts";
import type { Planned } from "./factories.ts";
import { fanOut } from "./fanout.ts";
import { type GraphNode, nodeKey, type PipelineSpec } from "./graph.ts";
import { formatId } from "./id.ts";
import { Observer } from "./observe.ts";
import type { Plan } from "./plan.ts";

/** What the service is given, and hands to every component. */
export interface Environment {
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly build: BuildInfo;
}

/** A component of the running service. */
export interface Instance {
  /** `"otlp" receiver`, for messages. */
  readonly name: string;
  readonly kind: GraphNode["kind"] | "extension";
  readonly id: string;
  readonly component: Component & Partial<ServiceWatcher>;
}

/** Everything created, nothing started. */
export interface Built {
  readonly extensions: readonly Instance[];
  /** Senders before receivers. */
  readonly levels: readonly (readonly Instance[])[];
}

/**
 * Creates the components that pipelines and `service::extensions` name.
 * @throws Error `failed to create "x" exporter: …`
 */
export function buildComponents(plan: Plan, environment: Environment): Built {
  return new Builder(plan, environment).build();
}

/** A consumer of whichever signal; the graph has checked that the signals fit. */
type AnyConsumer = Consumer<Signal>;

class Builder {
  readonly #plan: Plan;
  readonly #environment: Environment;
  readonly #observer: Observer;
  readonly #instances = new Map<string, Instance>();
  /** What exporters and connectors take, by node and signal. */
  readonly #sinks = new Map<string, Consumers>();
  /** The first stage of each pipeline. */
  readonly #heads = new Map<string, AnyConsumer>();

  constructor(plan: Plan, environment: Environment) {
    this.#plan = plan;
    this.#environment = environment;
    this.#observer = new Observer(environment.metrics);
  }

  build(): Built {
    for (const level of [...this.#plan.levels].reverse()) for (const node of level) this.#create(node);
    const extensions = this.#plan.enabledExtensions.map((id) => {
      const planned = this.#planned(this.#plan.extensions, id);
      const settings = this.#settings("extension", planned);
      return this.#instance("extension", id, () => planned.configured.create(settings));
    });
    return {
      extensions,
      levels: this.#plan.levels.map((level) => level.map((node) => this.#instances.get(nodeKey(node)) as Instance)),
    };
  }

  #create(node: GraphNode): void {
    const instance = this.#createInstance(node);
    this.#instances.set(nodeKey(node), instance);
  }

  #createInstance(node: GraphNode): Instance {
    const { id } = node;
    switch (node.kind) {
      case "exporter": {
        const planned = this.#planned(this.#plan.exporters, id);
        return this.#instance("exporter", id, () => {
          const component = planned.configured.create(this.#settings("exporter", planned));
          this.#sinks.set(nodeKey(node), component.consumers);
          return component;
        });
      }
      case "connector": {
        const planned = this.#planned(this.#plan.connectors, id);
        return this.#instance("connector", id, () => {
          const fedBy = this.#plan.pipelines
            .filter(({ exporters }) => exporters.includes(id))
            .map(({ signal }) => signal);
          const make = planned.configured.create(this.#settings("connector", planned));
          const component = make(this.#nextOf("connector", id), [...new Set(fedBy)]);
          this.#sinks.set(nodeKey(node), component.consumers);
          return component;
        });
      }
      case "receiver": {
        const planned = this.#planned(this.#plan.receivers, id);
        return this.#instance("receiver", id, () =>
          planned.configured.create(this.#settings("receiver", planned))(this.#nextOf("receiver", id)),
        );
      }
      case "processor":
        return this.#createProcessor(id, node.pipeline);
    }
  }

  #createProcessor(id: string, pipelineId: string): Instance {
    const planned = this.#planned(this.#plan.processors, id);
    const pipeline = this.#plan.pipelines.find((spec) => spec.id === pipelineId) as PipelineSpec;
    const { signal } = pipeline;
    const behind = this.#stage(pipeline, pipeline.processors.indexOf(id) + 1);
    return this.#instance("processor", id, () => {
      const settings = this.#settings("processor", planned, { "otelcol.pipeline.id": pipelineId });
      const make = planned.configured.create(settings)[signal] as
        | ((next: AnyConsumer) => Component & AnyConsumer)
        | undefined;
      if (!make) throw new Error(`it takes no ${signal}`);
      const component = make(this.#observer.outgoing(id, signal, behind));
      const self = this.#observer.incoming(id, signal, component);
      // What the processor passes on unchanged, a later stage may write into.
      const mutatesData = self.mutatesData || behind.mutatesData;
      this.#stages.set(stageKey(pipelineId, pipeline.processors.indexOf(id)), {
        mutatesData,
        consume: (batch, call) => self.consume(batch, call),
      });
      return component;
    });
  }

  readonly #stages = new Map<string, AnyConsumer>();

  /** Processor `index` of the pipeline, or behind the last one its exporters. */
  #stage(pipeline: PipelineSpec, index: number): AnyConsumer {
    if (index < pipeline.processors.length) return this.#stages.get(stageKey(pipeline.id, index)) as AnyConsumer;
    return fanOut(pipeline.exporters.map((id) => this.#sink(id, pipeline.signal)));
  }

  #sink(id: string, signal: Signal): AnyConsumer {
    const kind = this.#plan.connectors.has(id) ? "connector" : "exporter";
    const consumer = this.#sinks.get(nodeKey({ kind, id }))?.[signal] as AnyConsumer | undefined;
    if (!consumer) throw new Error(`failed to create "${id}" ${kind}: it takes no ${signal}`);
    return this.#observer.consumed(kind, id, signal, consumer);
  }

  /** A consumer a signal: all pipelines that this receiver or connector feeds. */
  #nextOf(kind: "receiver" | "connector", id: string): Consumers {
    const heads = new Map<Signal, AnyConsumer[]>();
    for (const pipeline of this.#plan.pipelines) {
      if (!pipeline.receivers.includes(id)) continue;
      const head = this.#heads.get(pipeline.id) ?? this.#stage(pipeline, 0);
      this.#heads.set(pipeline.id, head);
      heads.set(pipeline.signal, [...(heads.get(pipeline.signal) ?? []), head]);
    }
    return Object.fromEntries(
      [...heads].map(([signal, consumers]) => [signal, this.#observer.produced(kind, id, signal, fanOut(consumers))]),
    );
  }

  #planned<P extends Planned>(known: ReadonlyMap<string, P>, id: string): P {
    const planned = known.get(id);
    if (!planned) throw new Error(`"${id}" is not configured`);
    return planned;
  }

  #settings(
    kind: Instance["kind"],
    planned: { readonly id: ComponentId },
    fields: Readonly<Record<string, string>> = {},
  ): Settings {
    const { logger, metrics, clock, build } = this.#environment;
    return {
      id: planned.id,
      logger: logger.with({ "otelcol.component.id": formatId(planned.id), "otelcol.component.kind": kind, ...fields }),
      metrics,
      clock,
      build,
    };
  }

  #instance(kind: Instance["kind"], id: string, create: () => Instance["component"]): Instance {
    const name = `"${id}" ${kind}`;
    try {
      return { name, kind, id, component: create() };
    } catch (error) {
      throw new Error(`failed to create ${name}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}

function stageKey(pipeline: string, index: number): string {
  return `${pipeline}#${index}`;
}
