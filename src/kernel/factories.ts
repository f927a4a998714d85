import type { ConnectorFactory, ExporterFactory, ExtensionFactory, ProcessorFactory, ReceiverFactory } from "./api.ts";

/** The components of a build, by kind; keyed as the sections of the file are. */
export interface Factories {
  readonly receivers: readonly ReceiverFactory[];
  readonly processors: readonly ProcessorFactory[];
  readonly exporters: readonly ExporterFactory[];
  readonly connectors: readonly ConnectorFactory[];
  readonly extensions: readonly ExtensionFactory[];
}
