import { duration, int, section, texts, type z } from "../../config/schema.ts";

/** The Collector's keys, defaults and checks (batchprocessor/config.go). */
export const batchSchema = section({
  timeout: duration("200ms"),
  send_batch_size: int(8192),
  send_batch_max_size: int(0),
  metadata_keys: texts(),
  metadata_cardinality_limit: int(1000),
}).check((ctx) => {
  const { send_batch_size, send_batch_max_size, metadata_keys } = ctx.value;
  if (send_batch_max_size > 0 && send_batch_max_size < send_batch_size)
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["send_batch_max_size"],
      message: `send_batch_max_size must be greater or equal to send_batch_size, got ${send_batch_max_size} and ${send_batch_size}`,
    });
  const seen = new Set<string>();
  for (const [at, key] of metadata_keys.map((key) => key.toLowerCase()).entries()) {
    if (seen.has(key))
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        path: ["metadata_keys", at],
        message: `duplicate entry in metadata_keys: ${JSON.stringify(key)} (case-insensitive)`,
      });
    seen.add(key);
  }
});

/** What `batchSchema` decodes to; `timeout` in milliseconds. */
export type BatchConfig = z.output<typeof batchSchema>;
