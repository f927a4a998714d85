import { decodeSection } from "../../config/schema.ts";
import type { ExporterFactory } from "../../kernel/api.ts";
import { createExporter } from "../../sending/exporter.ts";
import { debugSchema } from "./config.ts";
import { DebugWriter } from "./debug.ts";

/** `debug`: writes what passes to the log, for people. */
export const debugExporterFactory: ExporterFactory = {
  kind: "exporter",
  type: "debug",
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(section) {
    const { config, effective } = decodeSection(debugSchema, section);
    return {
      effective,
      create(settings) {
        const writer = new DebugWriter(config, settings);
        return createExporter({
          settings,
          send: (batch) => writer.show(batch),
          open: () => writer.open(),
          close: () => writer.close(),
        });
      },
    };
  },
};
