/** The `omni_proxy_log` section. Names are those of contrib's filelog receiver where it has the same thing. */
import {
  bool,
  byteSize,
  duration,
  extensionId,
  int,
  oneOf,
  section,
  text,
  texts,
  withHint,
  type z,
} from "../../config/schema.ts";
import { parseGlob } from "./glob.ts";

/** What is in the files; it travels with the lines as the resource attribute `omni.log.format`. */
const FORMATS = ["auto", "error_log", "access_log", "omnilogger"] as const;

function globs() {
  return texts().superRefine((patterns: readonly string[], ctx) => {
    patterns.forEach((pattern, at) => {
      const glob = parseGlob(pattern, "/");
      if (typeof glob === "string")
        ctx.addIssue({ code: "custom", path: [at], message: `invalid pattern ${JSON.stringify(pattern)}: ${glob}` });
    });
  });
}

function isTimezone(name: string): boolean {
  if (name === "Local") return true;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

export const schema = section({
  include: globs().refine((patterns) => patterns.length > 0, {
    error: withHint("at least one path or pattern is required", "include: [/var/log/omni/nginx_error.log]"),
  }),
  exclude: globs(),
  start_at: oneOf(["end", "beginning"], "end"),
  poll_interval: duration("100ms").refine((ms) => ms >= 1, { error: "must be at least 1ms" }),
  format: oneOf(FORMATS, "auto"),
  timezone: text("Local").refine(isTimezone, {
    error: withHint("unknown time zone", 'write Local, or a name of the IANA database such as "Asia/Shanghai"'),
  }),
  fingerprint_size: byteSize("1kb", 16, 1_048_576),
  max_log_size: byteSize("1MiB", 1, 67_108_864),
  max_concurrent_files: int(1024, 1),
  max_batch_lines: int(4096, 1),
  max_batch_bytes: byteSize("256KiB", 1, 67_108_864),
  rotate_wait: duration("5s"),
  storage: extensionId(),
  retry_on_failure: section({
    enabled: bool(true),
    initial_interval: duration("100ms").refine((ms) => ms >= 1, { error: "must be at least 1ms" }),
    max_interval: duration("5s").refine((ms) => ms >= 1, { error: "must be at least 1ms" }),
    max_elapsed_time: duration("0"),
  }),
});

/** The section as written, decoded: durations in milliseconds, sizes in bytes. */
export type Config = z.output<typeof schema>;
export type RetryConfig = Config["retry_on_failure"];
