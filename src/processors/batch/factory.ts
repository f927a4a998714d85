import { decodeSection } from "../../config/schema.ts";
import type { ProcessorFactory } from "../../kernel/api.ts";
import { BatchProcessor } from "./batch.ts";
import { batchSchema } from "./config.ts";

/** `batch`: fewer, larger requests. */
export const batchProcessorFactory: ProcessorFactory = {
  kind: "processor",
  type: "batch",
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(section) {
    const { config, effective } = decodeSection(batchSchema, section);
    return {
      effective,
      create: (settings) => ({
        traces: (next) => new BatchProcessor(config, settings, next),
        metrics: (next) => new BatchProcessor(config, settings, next),
        logs: (next) => new BatchProcessor(config, settings, next),
      }),
    };
  },
};
