import { decodeSection, section } from "../../config/schema.ts";
import type { Component, Consumer, Consumers, ExporterFactory, Signal } from "../../kernel/api.ts";

/** Takes everything and forgets it: for measuring and for trying a file (nopexporter). */
class NopExporter implements Component {
  readonly consumers: Consumers;

  constructor() {
    const drop: Consumer<Signal> = { mutatesData: false, consume: async () => {} };
    this.consumers = { traces: drop, metrics: drop, logs: drop };
  }

  async start(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

/** `nop`: no settings. */
export const nopExporterFactory: ExporterFactory = {
  kind: "exporter",
  type: "nop",
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(raw) {
    const { effective } = decodeSection(section({}), raw);
    return { effective, create: () => new NopExporter() };
  },
};
