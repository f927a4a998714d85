import { bool, duration, int, oneOf, presence, section, text, type z } from "../../config/schema.ts";

/**
 * The keys, defaults and checks of the Collector contrib's fileexporter. Not here: compression, encoding, group_by,
 * directory_permissions.
 */
export const fileSchema = section({
  path: text(),
  append: bool(false),
  create_directory: bool(false),
  format: oneOf(["json", "proto"], "json"),
  flush_interval: duration("1s"),
  rotation: presence({
    max_megabytes: int(100),
    max_days: int(0),
    max_backups: int(100),
    localtime: bool(false),
  }),
}).check((ctx) => {
  const { path, append, rotation, flush_interval } = ctx.value;
  const issue = (key: string, message: string): void => {
    ctx.issues.push({ code: "custom", input: ctx.value, path: [key], message });
  };
  if (path === "") issue("path", "path must be non-empty");
  if (append && rotation) issue("append", "append and rotation enabled at the same time is not supported");
  if (flush_interval <= 0) issue("flush_interval", "flush_interval must be larger than zero");
});

/** What `fileSchema` decodes to; `flush_interval` in milliseconds. */
export type FileConfig = z.output<typeof fileSchema>;
