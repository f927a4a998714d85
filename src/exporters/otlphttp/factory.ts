import { decodeSection } from "../../config/schema.ts";
import type { ExporterFactory } from "../../kernel/api.ts";
import { createNetworkExporter } from "../../sending/network.ts";
import { queueExtensions } from "../../sending/queue-config.ts";
import { authExtensions } from "../../transport/auth.ts";
import { otlpHttpSchema } from "./config.ts";
import { OtlpHttpSender } from "./otlphttp.ts";

/** `otlp_http`, known as `otlphttp` before 0.144: OTLP over HTTP. */
export const otlpHttpExporterFactory: ExporterFactory = {
  kind: "exporter",
  type: "otlp_http",
  aliases: ["otlphttp"],
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(section) {
    const { config, effective } = decodeSection(otlpHttpSchema, section);
    return {
      effective,
      extensions: [...queueExtensions(config.sending_queue), ...authExtensions(config.auth)],
      create: (settings) => createNetworkExporter(config, settings, new OtlpHttpSender(config, settings)),
    };
  },
};
