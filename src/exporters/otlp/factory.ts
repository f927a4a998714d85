import { decodeSection } from "../../config/schema.ts";
import type { ExporterFactory } from "../../kernel/api.ts";
import { createNetworkExporter } from "../../sending/network.ts";
import { queueExtensions } from "../../sending/queue-config.ts";
import { authExtensions } from "../../transport/auth.ts";
import { otlpGrpcSchema } from "./config.ts";
import { OtlpGrpcSender } from "./otlp.ts";

/** `otlp_grpc`, known as `otlp` before 0.144: OTLP over gRPC. */
export const otlpGrpcExporterFactory: ExporterFactory = {
  kind: "exporter",
  type: "otlp_grpc",
  aliases: ["otlp"],
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(section) {
    const { config, effective } = decodeSection(otlpGrpcSchema, section);
    return {
      effective,
      extensions: [...queueExtensions(config.sending_queue), ...authExtensions(config.auth)],
      create: (settings) => createNetworkExporter(config, settings, new OtlpGrpcSender(config, settings)),
    };
  },
};
