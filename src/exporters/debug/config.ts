import { bool, int, level, section, text, z } from "../../config/schema.ts";

/** The Collector's keys, defaults and checks (debugexporter/config.go). Not here: sending_queue, off there by default. */
export const debugSchema = section({
  verbosity: level(["basic", "normal", "detailed"], "basic", "unknown metrics level"),
  sampling_initial: int(2),
  sampling_thereafter: int(1),
  use_internal_logger: bool(true),
  output_paths: z.array(text()).optional(),
}).check((ctx) => {
  const { use_internal_logger, output_paths } = ctx.value;
  const message =
    use_internal_logger && output_paths !== undefined
      ? "output_paths is not supported when use_internal_logger is true"
      : output_paths?.length === 0
        ? "output_paths must not be empty when use_internal_logger is false"
        : undefined;
  if (message) ctx.issues.push({ code: "custom", input: ctx.value, path: ["output_paths"], message });
});

/** What `debugSchema` decodes to; without `output_paths` the output goes to stdout. */
export type DebugConfig = z.output<typeof debugSchema>;
