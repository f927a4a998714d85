/** The `file_storage` section: the Collector's keys (extension/storage/filestorage/config.go) and `max_size_mib`. */
import { bool, duration, int, section, text, withHint, type z } from "../../config/schema.ts";

const compaction = section({
  directory: text("/var/lib/otelcol/file_storage"),
  on_start: bool(false),
  on_rebound: bool(false),
  rebound_needed_threshold_mib: int(100),
  rebound_trigger_threshold_mib: int(10),
  max_transaction_size: int(65_536),
  check_interval: duration("5s"),
  cleanup_on_start: bool(false),
});

/** Octal text such as "0750". */
const permissions = text("0750").check((ctx) => {
  if (!/^[0-7]+$/.test(ctx.value))
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      message: withHint(
        "directory_permissions value must be a valid octal representation of file permissions",
        'write it in quotes, such as "0750"',
      ),
    });
  else if (Number.parseInt(ctx.value, 8) > 0o777)
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      message: "directory_permissions contain invalid bits for file access",
    });
});

/**
 * `fsync` is true here and false in the Collector: what was acknowledged survives a power failure (docs/adr/030).
 * `compaction` and `recreate` are about the Collector's database; they are accepted and change nothing.
 */
export const schema = section({
  directory: text("/var/lib/otelcol/file_storage").refine((path) => path !== "", {
    error: "directory must not be empty",
  }),
  timeout: duration("1s"),
  fsync: bool(true),
  create_directory: bool(true),
  directory_permissions: permissions,
  recreate: bool(false),
  max_size_mib: int(1024, 1, 1_048_576),
  compaction,
}).check((ctx) => {
  const { on_rebound, check_interval } = ctx.value.compaction;
  if (on_rebound && check_interval <= 0)
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["compaction", "check_interval"],
      message: "compaction check interval must be positive when rebound compaction is set",
    });
});

/** What `schema` decodes to. */
export type FileStorageConfig = z.output<typeof schema>;
