/**
 * The pipeline's vocabulary: types only, no run-time code. Modelled on the OpenTelemetry Collector's
 * component, consumer, receiver, processor, exporter, connector and extension packages.
 */
import type { Logs, Metrics, Signal, Traces } from "../pdata/payload.ts";
import type { Clock } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { MetricsRegistry } from "../telemetry/metrics.ts";

export type { Signal } from "../pdata/payload.ts";

/** Signal name -> what flows in a pipeline of that signal. */
export type Payload = { traces: Traces; metrics: Metrics; logs: Logs };

/** `otlp/edge` is `{type: "otlp", name: "edge"}`; without a slash `name` is "". */
export interface ComponentId {
  readonly type: string;
  readonly name: string;
}

/** What a component may ask of the running service. */
export interface Host {
  /** The started extension with this id as written in the file ("file_storage/queue"), or undefined. */
  extension(id: string): Component | undefined;
  /** A failure after start that the operator must see; the service logs it and shows it in health checks. */
  reportStatus(status: ComponentStatus): void;
}

/** "recoverable": works again by itself. "permanent": this component is out of order until a restart. "fatal": the service stops with exit code 1. */
export interface ComponentStatus {
  readonly level: "ok" | "recoverable" | "permanent" | "fatal";
  readonly error?: Error;
}

/** The service as a whole: for health checks. */
export interface ServiceHealth {
  /** True from the end of start-up to the beginning of the stop. */
  readonly ready: boolean;
  /** Components that are not ok, by their last report; `component` is for people: `"otlp" exporter`. */
  readonly problems: readonly (ComponentStatus & { readonly component: string })[];
}

/** What an extension may be besides: told how the service is (PipelineWatcher and componentstatus.Watcher of the Collector). */
export interface ServiceWatcher {
  /** Called after every change, and never waited for. */
  serviceChanged(health: ServiceHealth): void;
}

/** Anything the service starts and stops. Life cycle: create -> start -> run -> shutdown, once. */
export interface Component {
  /** Resolves when ready (a listener is bound, a file is open); a rejection aborts start-up. Long work runs in the background. */
  start(host: Host): Promise<void>;
  /**
   * Refuses intake, hands on what was accepted, frees everything; resolves when done or when `deadline` aborts.
   * Idempotent, and legal before `start`. The graph stops upstream first, so what is flushed here still has a consumer.
   */
  shutdown(deadline: AbortSignal): Promise<void>;
}

/** What is known of the call that brought a batch; every field is optional because a timer or a file has no caller. */
export interface CallContext {
  /** Aborted when the caller gave up or its deadline passed. */
  readonly signal?: AbortSignal | undefined;
  /** Request metadata (lower-case keys), only when the receiver has `include_metadata: true`. */
  readonly metadata?: ReadonlyMap<string, readonly string[]> | undefined;
  /** Remote address, for messages: "10.0.0.1:53412". */
  readonly peer?: string | undefined;
}

/**
 * The next stage. It owns `batch` from the call on. Resolving means "accepted: it will arrive or be counted";
 * a rejection is a `ConsumeError` (kernel/errors.ts) and means nothing of the batch was taken.
 */
export interface Consumer<S extends Signal> {
  /** True when `consume` may write into `batch.bytes`; the fan-out then gives it a copy of its own. */
  readonly mutatesData: boolean;
  consume(batch: Payload[S], call: CallContext): Promise<void>;
}

/** A consumer a signal; an absent key means "no pipeline of that signal". */
export type Consumers = { readonly [S in Signal]?: Consumer<S> };

/** What the service gives every component: never user configuration. */
export interface Settings {
  readonly id: ComponentId;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly build: BuildInfo;
}

/** Names the program to peers (User-Agent) and to operators (--version). */
export interface BuildInfo {
  readonly command: string;
  readonly description: string;
  readonly version: string;
}

/** A decoded, validated section: `effective` (defaults filled, secrets redacted) is for print-config; `create` closes over the typed config. */
export interface Configured<T> {
  readonly effective: unknown;
  /** Ids of extensions this section refers to ("file_storage"), with their key path, so that `validate` can check them. */
  readonly extensions?: readonly { readonly path: readonly string[]; readonly id: string }[];
  /** "host:port" or "unix:/path" that this component will bind, so that clashes are found before start. */
  readonly listens?: readonly { readonly path: readonly string[]; readonly address: string }[];
  create(settings: Settings): T;
}

interface FactoryOf<K extends string, T> {
  readonly kind: K;
  /** The key in the YAML file. */
  readonly type: string;
  /** Older names that still work and are logged once ("otlp" for "otlp_grpc"). */
  readonly aliases?: readonly string[];
  readonly stability: "development" | "alpha" | "beta" | "stable";
  /** @throws ConfigErrors with every issue of the section, never just the first. */
  configure(section: unknown): Configured<T>;
}

/** `next` has a key for each signal of the pipelines that use this receiver. One receiver object serves all signals. */
export type ReceiverFactory = FactoryOf<"receiver", (next: Consumers) => Component> & {
  readonly signals: readonly Signal[];
};
export type ProcessorFactory = FactoryOf<
  "processor",
  { readonly [S in Signal]?: (next: Consumer<S>) => Component & Consumer<S> }
> & {
  readonly signals: readonly Signal[];
};
export type ExporterFactory = FactoryOf<"exporter", Component & { readonly consumers: Consumers }> & {
  readonly signals: readonly Signal[];
};
/** A connector is an exporter of one pipeline and a receiver of another; `pairs` says from which signal to which. */
export type ConnectorFactory = FactoryOf<
  "connector",
  /** `next`: the pipelines that have it as receiver; `fedBy`: the signals of the pipelines that have it as exporter. */
  (next: Consumers, fedBy: readonly Signal[]) => Component & { readonly consumers: Consumers }
> & {
  readonly pairs: readonly (readonly [from: Signal, to: Signal])[];
};
export type ExtensionFactory = FactoryOf<"extension", Component & Partial<ServiceWatcher>>;
export type AnyFactory = ReceiverFactory | ProcessorFactory | ExporterFactory | ConnectorFactory | ExtensionFactory;
