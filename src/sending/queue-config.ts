/** `sending_queue`: the Collector's keys, defaults and checks (exporterhelper/internal/queuebatch/config.go). */
import { bool, duration, extensionId, int, oneOf, presence, section, type z } from "../config/schema.ts";

/** What `queue_size` counts. */
const sizers = ["requests", "items", "bytes"] as const;
export type Sizer = (typeof sizers)[number];

const batch = presence({
  flush_timeout: duration("200ms"),
  min_size: int(8192),
  max_size: int(0),
  sizer: oneOf(["items", "bytes"], "items").unwrap().optional(),
});

/**
 * The section `sending_queue`. `batch.sizer` is that of the queue when left out, or items where that one counts
 * requests. `storage` names a file_storage, which makes the queue durable. `batch::partition` is not among the keys as long
 * as it does not exist.
 */
export const queueSchema = section({
  enabled: bool(true),
  num_consumers: int(10, 1),
  queue_size: int(1000, 1),
  sizer: oneOf(sizers, "requests"),
  block_on_overflow: bool(false),
  wait_for_result: bool(false),
  storage: extensionId(),
  batch,
}).check((ctx) => {
  const { sizer, queue_size, batch: group, storage, wait_for_result } = ctx.value;
  if (storage !== undefined && wait_for_result)
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["wait_for_result"],
      message: "`wait_for_result` is not supported with a persistent queue configured with `storage`",
    });
  if (!group) return;
  const issue = (key: string, message: string): void => {
    ctx.issues.push({ code: "custom", input: ctx.value, path: ["batch", key], message });
  };
  if (group.flush_timeout <= 0) issue("flush_timeout", "`flush_timeout` must be positive");
  if (group.max_size > 0 && group.max_size < group.min_size)
    issue("max_size", `\`max_size\` (${group.max_size}) must be greater or equal to \`min_size\` (${group.min_size})`);
  if (batchSizer(ctx.value) === sizer && group.min_size > queue_size)
    issue("min_size", `\`min_size\` (${group.min_size}) must be less than or equal to \`queue_size\` (${queue_size})`);
});

/** What `queueSchema` decodes to. */
export type QueueConfig = z.output<typeof queueSchema>;

/** In what unit `batch.min_size` and `batch.max_size` are. */
export function batchSizer(config: Pick<QueueConfig, "sizer" | "batch">): "items" | "bytes" {
  return config.batch?.sizer ?? (config.sizer === "bytes" ? "bytes" : "items");
}

/** For `Configured.extensions`: the file_storage that the queue in the section `sending_queue` needs. */
export function queueExtensions(queue: QueueConfig | undefined): readonly { path: readonly string[]; id: string }[] {
  return queue?.enabled && queue.storage !== undefined
    ? [{ path: ["sending_queue", "storage"], id: queue.storage }]
    : [];
}
