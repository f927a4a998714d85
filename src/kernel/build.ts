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
import { Switch } from "./switch.ts";

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
  /** Equal for equal instances of one service. */
  readonly key: string;
  /** What it was made from: its section, and the signals on both of its sides. */
  readonly madeFrom: string;
  /** What it takes, when others send to it. */
  readonly sinks: Consumers;
  /** What it sends to, by signal. */
  readonly switches: ReadonlyMap<Signal, Switch<Signal>>;
}

/** Everything created or taken over, nothing started. */
export interface Built {
  readonly extensions: readonly Instance[];
  /** Senders before receivers. */
  readonly levels: readonly (readonly Instance[])[];
  /** Points what was taken over at its new next stages. */
  join(): void;
}

/**
 * Creates the components that pipelines and `service::extensions` name, except those of `running` that would come out the same
 * and whose extensions stay too: these are taken over as they are.
 * @throws Error `failed to create "x" exporter: …`
 */
export function buildComponents(
  plan: Plan,
  environment: Environment,
  running: ReadonlyMap<string, Instance> = new Map(),
): Built {
  return new Builder(plan, environment, running).build();
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

  readonly #running: ReadonlyMap<string, Instance>;
  readonly #joins: (() => void)[] = [];
  /** Ids of extensions that are taken over. */
  readonly #keptExtensions = new Set<string>();

  constructor(plan: Plan, environment: Environment, running: ReadonlyMap<string, Instance>) {
    this.#running = running;
    this.#plan = plan;
    this.#environment = environment;
    this.#observer = new Observer(environment.metrics);
  }

  build(): Built {
    const extensions = this.#plan.enabledExtensions.map((id) => this.#extension(id));
    for (const level of [...this.#plan.levels].reverse()) for (const node of level) this.#create(node);
    return {
      extensions,
      levels: this.#plan.levels.map((level) => level.map((node) => this.#instances.get(nodeKey(node)) as Instance)),
      join: () => {
        for (const join of this.#joins) join();
      },
    };
  }

  #extension(id: string): Instance {
    const planned = this.#planned(this.#plan.extensions, id);
    const key = `extension:${id}`;
    const running = this.#running.get(key);
    const instance = this.#instance({ kind: "extension", id, key, planned, shape: "", next: {} }, () => ({
      component: planned.configured.create(this.#settings("extension", planned)),
    }));
    if (instance === running) this.#keptExtensions.add(id);
    return instance;
  }

  #create(node: GraphNode): void {
    const key = nodeKey(node);
    const instance = this.#createInstance(node, key);
    this.#instances.set(key, instance);
    this.#sinks.set(key, instance.sinks);
    if (node.kind === "processor") this.#addStage(instance, node.id, node.pipeline);
  }

  #createInstance(node: GraphNode, key: string): Instance {
    const { id, kind } = node;
    switch (kind) {
      case "exporter": {
        const planned = this.#planned(this.#plan.exporters, id);
        return this.#instance({ kind, id, key, planned, shape: "", next: {} }, () => {
          const component = planned.configured.create(this.#settings(kind, planned));
          return { component, sinks: component.consumers };
        });
      }
      case "connector": {
        const planned = this.#planned(this.#plan.connectors, id);
        const fedBy = [
          ...new Set(
            this.#plan.pipelines.filter(({ exporters }) => exporters.includes(id)).map(({ signal }) => signal),
          ),
        ];
        const next = this.#nextOf(kind, id);
        return this.#instance({ kind, id, key, planned, shape: fedBy.join(), next }, (switched) => {
          const component = planned.configured.create(this.#settings(kind, planned))(switched, fedBy);
          return { component, sinks: component.consumers };
        });
      }
      case "receiver": {
        const planned = this.#planned(this.#plan.receivers, id);
        const next = this.#nextOf(kind, id);
        return this.#instance({ kind, id, key, planned, shape: "", next }, (switched) => ({
          component: planned.configured.create(this.#settings(kind, planned))(switched),
        }));
      }
      case "processor":
        return this.#createProcessor(id, key, node.pipeline);
    }
  }

  #createProcessor(id: string, key: string, pipelineId: string): Instance {
    const planned = this.#planned(this.#plan.processors, id);
    const pipeline = this.#pipeline(pipelineId);
    const { signal } = pipeline;
    const behind = this.#stage(pipeline, pipeline.processors.indexOf(id) + 1);
    const next = { [signal]: this.#observer.outgoing(id, signal, behind) };
    return this.#instance({ kind: "processor", id, key, planned, shape: signal, next }, (switched) => {
      const settings = this.#settings("processor", planned, { "otelcol.pipeline.id": pipelineId });
      const make = planned.configured.create(settings)[signal] as
        | ((next: AnyConsumer) => Component & AnyConsumer)
        | undefined;
      if (!make) throw new Error(`it takes no ${signal}`);
      const component = make(switched[signal] as AnyConsumer);
      return { component, sinks: { [signal]: component } };
    });
  }

  #addStage(instance: Instance, id: string, pipelineId: string): void {
    const pipeline = this.#pipeline(pipelineId);
    const { signal } = pipeline;
    const behind = this.#stage(pipeline, pipeline.processors.indexOf(id) + 1);
    const self = this.#observer.incoming(id, signal, instance.sinks[signal] as AnyConsumer);
    // What the processor passes on unchanged, a later stage may write into.
    const mutatesData = self.mutatesData || behind.mutatesData;
    this.#stages.set(stageKey(pipelineId, pipeline.processors.indexOf(id)), {
      mutatesData,
      consume: (batch, call) => self.consume(batch, call),
    });
  }

  #pipeline(id: string): PipelineSpec {
    return this.#plan.pipelines.find((spec) => spec.id === id) as PipelineSpec;
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

  /** The running one where it would come out the same, else a new one. */
  #instance(
    wanted: {
      readonly kind: Instance["kind"];
      readonly id: string;
      readonly key: string;
      readonly planned: {
        readonly fingerprint: string;
        readonly configured: { readonly extensions?: readonly { readonly id: string }[] };
      };
      /** What it was told besides its section and the signals it sends on. */
      readonly shape: string;
      readonly next: Consumers;
    },
    create: (next: Consumers) => { readonly component: Instance["component"]; readonly sinks?: Consumers },
  ): Instance {
    const { kind, id, key, planned, shape } = wanted;
    const next = Object.entries(wanted.next) as [Signal, AnyConsumer][];
    const signals = next.map(([signal]) => signal).sort();
    const madeFrom = JSON.stringify([planned.fingerprint, shape, signals]);
    const running = this.#running.get(key);
    const staysWith = (planned.configured.extensions ?? []).every((extension) =>
      this.#keptExtensions.has(extension.id),
    );
    if (running?.madeFrom === madeFrom && staysWith) {
      this.#joins.push(() => {
        for (const [signal, target] of next) running.switches.get(signal)?.point(target);
      });
      return running;
    }
    const switches = new Map(next.map(([signal, target]) => [signal, new Switch(target)]));
    const name = `"${id}" ${kind}`;
    try {
      const { component, sinks = {} } = create(Object.fromEntries(switches));
      return { name, kind, id, key, madeFrom, component, sinks, switches };
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
