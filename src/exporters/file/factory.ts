import { decodeSection } from "../../config/schema.ts";
import type { ExporterFactory } from "../../kernel/api.ts";
import { createExporter } from "../../sending/exporter.ts";
import { fileSchema } from "./config.ts";
import { FileSender } from "./file.ts";

/** `file`: OTLP JSON, a request a line. */
export const fileExporterFactory: ExporterFactory = {
  kind: "exporter",
  type: "file",
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(section) {
    const { config, effective } = decodeSection(fileSchema, section);
    return {
      effective,
      create(settings) {
        const sender = new FileSender(config, settings);
        return createExporter({
          settings,
          send: (batch) => sender.send(batch),
          open: (host) => sender.open(host),
          close: () => sender.close(),
        });
      },
    };
  },
};
