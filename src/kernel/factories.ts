import type {
  AnyFactory,
  ComponentId,
  ConnectorFactory,
  ExporterFactory,
  ExtensionFactory,
  ProcessorFactory,
  ReceiverFactory,
} from "./api.ts";

/** The components of a build, by kind; keyed as the sections of the file are. */
export interface Factories {
  readonly receivers: readonly ReceiverFactory[];
  readonly processors: readonly ProcessorFactory[];
  readonly exporters: readonly ExporterFactory[];
  readonly connectors: readonly ConnectorFactory[];
  readonly extensions: readonly ExtensionFactory[];
}

/** A component that is configured, used or not. */
export interface Planned<F extends AnyFactory = AnyFactory> {
  readonly id: ComponentId;
  readonly factory: F;
  /** Equal for equal sections, secrets included: not for printing. */
  readonly fingerprint: string;
  readonly configured: F extends { configure(section: unknown): infer C } ? C : never;
}

/** Components by id as written. */
export interface PlannedComponents {
  readonly receivers: ReadonlyMap<string, Planned<ReceiverFactory>>;
  readonly processors: ReadonlyMap<string, Planned<ProcessorFactory>>;
  readonly exporters: ReadonlyMap<string, Planned<ExporterFactory>>;
  readonly connectors: ReadonlyMap<string, Planned<ConnectorFactory>>;
  readonly extensions: ReadonlyMap<string, Planned<ExtensionFactory>>;
}
