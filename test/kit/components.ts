/** Components that do nothing but tell what happens to them, for tests of what joins components. */
import { decodeSection, section, text } from "../../src/config/schema.ts";
import type {
  CallContext,
  Component,
  ComponentStatus,
  Configured,
  ConnectorFactory,
  Consumer,
  Consumers,
  ExporterFactory,
  ExtensionFactory,
  Host,
  Payload,
  ProcessorFactory,
  ReceiverFactory,
  ServiceHealth,
  Settings,
  Signal,
} from "../../src/kernel/api.ts";
import type { Factories } from "../../src/kernel/factories.ts";
import { formatId } from "../../src/kernel/id.ts";

/** What happened, in order: `start exporter debug`, `stop receiver otlp`; and handles on what was created. */
export class Stage {
  readonly events: string[] = [];
  /** Batches by exporter id. */
  readonly arrived = new Map<string, Payload[Signal][]>();
  /** What each receiver sends to, by id. */
  readonly next = new Map<string, Consumers>();
  readonly hosts = new Map<string, Host>();
  /** By extension id. */
  readonly healths: ServiceHealth[] = [];
  /** Called at these points; a rejection or a promise that hangs is the fault. Keys: `start exporter debug`, `stop receiver otlp`, `consume exporter debug`. */
  readonly faults = new Map<string, () => Promise<void> | void>();

  /** Components that do not look at their deadline: `exporter debug`. */
  readonly deaf = new Set<string>();

  async at(what: string): Promise<void> {
    this.events.push(what);
    await this.faults.get(what)?.();
  }

  /** Sends `batch` as receiver `id` would. */
  async send<S extends Signal>(id: string, batch: Payload[S], call: CallContext = {}): Promise<void> {
    const consumer = this.next.get(id)?.[batch.signal] as Consumer<S> | undefined;
    if (!consumer) throw new Error(`receiver ${id} feeds no ${batch.signal} pipeline`);
    await consumer.consume(batch, call);
  }

  report(id: string, status: ComponentStatus): void {
    this.hosts.get(id)?.reportStatus(status);
  }
}

const SIGNALS = ["traces", "metrics", "logs"] as const;

class Staged implements Component {
  readonly #stage: Stage;
  readonly #name: string;
  #isStopped = false;

  constructor(stage: Stage, kind: string, settings: Settings) {
    this.#stage = stage;
    this.#name = `${kind} ${formatId(settings.id)}`;
  }

  async start(host: Host): Promise<void> {
    this.#stage.hosts.set(this.#name, host);
    await this.#stage.at(`start ${this.#name}`);
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const stopping = this.#stage.at(`stop ${this.#name}`);
    if (this.#stage.deaf.has(this.#name)) return stopping;
    const late = new Promise<void>((resolve) => {
      deadline.addEventListener("abort", () => resolve(), { once: true });
    });
    return Promise.race([stopping, late]);
  }
}

const schema = section({
  endpoint: text("").optional(),
  storage: text("").optional(),
  label: text("none"),
});

/** Sections have `endpoint` (listens there), `storage` (refers to an extension) and `label`. */
function configure<T>(create: (settings: Settings) => T): (raw: unknown) => Configured<T> {
  return (raw) => {
    const { config, effective } = decodeSection(schema, raw);
    return {
      effective,
      create,
      ...(config.endpoint ? { listens: [{ path: ["endpoint"], address: config.endpoint }] } : {}),
      ...(config.storage ? { extensions: [{ path: ["storage"], id: config.storage }] } : {}),
    };
  };
}

/** Kinds of the Collector's names: `in`, `tracesonly` receivers, `pass` and `mutate` processors, `out` (alias `exit`) exporters, `join` connectors, `ext` extensions. */
export function stagedFactories(stage: Stage): Factories {
  const receiver = (type: string, signals: readonly Signal[]): ReceiverFactory => ({
    kind: "receiver",
    type,
    stability: "beta",
    signals,
    configure: configure((settings) => (next) => {
      stage.next.set(formatId(settings.id), next);
      return new Staged(stage, "receiver", settings);
    }),
  });
  const processor = (type: string, mutatesData: boolean): ProcessorFactory => {
    const create = (settings: Settings) => {
      const make = (next: Consumer<Signal>): Component & Consumer<Signal> =>
        Object.assign(new Staged(stage, "processor", settings), {
          mutatesData,
          async consume(batch: Payload[Signal], call: CallContext): Promise<void> {
            await stage.at(`consume processor ${formatId(settings.id)}`);
            if (mutatesData) batch.bytes[0] = (batch.bytes[0] ?? 0) + 1;
            await next.consume(batch, call);
          },
        });
      return { traces: make, metrics: make, logs: make };
    };
    return { kind: "processor", type, stability: "beta", signals: SIGNALS, configure: configure(create) };
  };
  const exporter: ExporterFactory = {
    kind: "exporter",
    type: "out",
    aliases: ["exit"],
    stability: "beta",
    signals: SIGNALS,
    configure: configure((settings) => {
      const id = formatId(settings.id);
      const take: Consumer<Signal> = {
        mutatesData: false,
        async consume(batch) {
          await stage.at(`consume exporter ${id}`);
          stage.arrived.set(id, [...(stage.arrived.get(id) ?? []), batch]);
        },
      };
      return Object.assign(new Staged(stage, "exporter", settings), {
        consumers: { traces: take, metrics: take, logs: take } as Consumers,
      });
    }),
  };
  const connector: ConnectorFactory = {
    kind: "connector",
    type: "join",
    stability: "beta",
    pairs: [
      ["traces", "traces"],
      ["logs", "traces"],
    ],
    configure: configure((settings) => (next, fedBy) => {
      stage.events.push(`join ${Object.keys(next).join()} fed by ${fedBy.join()}`);
      const pass: Consumer<Signal> = {
        mutatesData: false,
        consume: (batch, call) => next.traces?.consume({ ...batch, signal: "traces" }, call) ?? Promise.resolve(),
      };
      return Object.assign(new Staged(stage, "connector", settings), {
        consumers: { traces: pass, logs: pass } as Consumers,
      });
    }),
  };
  const extension: ExtensionFactory = {
    kind: "extension",
    type: "ext",
    stability: "beta",
    configure: configure((settings) =>
      Object.assign(new Staged(stage, "extension", settings), {
        serviceChanged: (health: ServiceHealth) => stage.healths.push(health),
      }),
    ),
  };
  return {
    receivers: [receiver("in", SIGNALS), receiver("tracesonly", ["traces"])],
    processors: [processor("pass", false), processor("mutate", true)],
    exporters: [exporter],
    connectors: [connector],
    extensions: [extension],
  };
}
