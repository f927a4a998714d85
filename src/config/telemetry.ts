/** The `service::telemetry` section: the Collector's keys, of which some are accepted without effect (docs: README). */
import { parseListenAddress } from "./listen-address.ts";
import { bool, duration, int, level, oneOf, presence, section, text, texts, withHint, z } from "./schema.ts";

const logLevels = ["debug", "info", "warn", "error"] as const;
const metricLevels = ["none", "basic", "normal", "detailed"] as const;

/** Anything: for keys that are accepted and have no effect. */
const ignored = () => z.unknown().optional();

const prometheus = presence({
  host: text("localhost"),
  port: int(8888, 0, 65_535),
  without_scope_info: ignored(),
  without_type_suffix: ignored(),
  without_units: ignored(),
  with_resource_constant_labels: ignored(),
  translation_strategy: ignored(),
});

const reader = section({
  pull: presence({ exporter: section({ prometheus }) }),
  periodic: ignored(),
});

/** `service::telemetry`. */
export const telemetrySchema = section({
  logs: section({
    level: level(logLevels, "info", "unrecognized level:", {
      warning: "warn",
      dpanic: "error",
      panic: "error",
      fatal: "error",
    }),
    encoding: oneOf(["console", "json"], "console"),
    output_paths: texts().prefault(["stderr"]),
    error_output_paths: texts().prefault(["stderr"]),
    initial_fields: z.record(z.string(), z.unknown()).default({}),
    development: bool(false),
    disable_caller: bool(false),
    disable_stacktrace: bool(false),
    sampling: section({
      enabled: bool(true),
      tick: duration("10s"),
      initial: int(10),
      thereafter: int(100),
    }),
    processors: ignored(),
  }),
  metrics: section({
    level: level(metricLevels, "normal", "unknown metrics level"),
    address: text()
      .check((ctx) => {
        const parsed = parseListenAddress(ctx.value);
        if (typeof parsed !== "string") return;
        const message = withHint(parsed, 'for example "localhost:8888" or ":8888"');
        ctx.issues.push({ code: "custom", input: ctx.value, message });
      })
      .optional(),
    readers: z.array(reader).prefault([{ pull: { exporter: { prometheus: {} } } }]),
    views: ignored(),
  }),
  traces: ignored(),
  resource: z.record(z.string(), z.unknown()).default({}),
});

/** The decoded section. */
export type TelemetryConfig = z.output<typeof telemetrySchema>;

/** Where the metrics page listens: the old `address` when given, else every Prometheus reader (localhost:8888 when nothing is said); nowhere at level none. */
export function metricsAddresses(config: TelemetryConfig): { address: string; key: string }[] {
  const { level, address, readers } = config.metrics;
  const base = "service::telemetry::metrics";
  if (level === "none") return [];
  if (address !== undefined) return [{ address, key: `${base}::address` }];
  return readers.flatMap(({ pull }, index) => {
    const found = pull?.exporter.prometheus;
    if (!found) return [];
    const host = found.host.includes(":") && !found.host.startsWith("[") ? `[${found.host}]` : found.host;
    return [{ address: `${host}:${found.port}`, key: `${base}::readers::${index}::pull::exporter::prometheus::port` }];
  });
}

/**
 * The attributes that describe this process: the Collector's `service.name`, `service.version` and
 * `service.instance.id`, over them what the file says, both as a plain map and as the declarative
 * `attributes: [{name, value}]`. A null takes an attribute away.
 */
export function resourceAttributes(
  config: TelemetryConfig,
  own: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { attributes, ...plain } = config.resource;
  const listed = Array.isArray(attributes)
    ? attributes.map((entry: { name?: unknown; value?: unknown }) => [String(entry?.name), entry?.value] as const)
    : [];
  const given = Object.entries(plain).filter(
    ([name]) => !["schema_url", "detectors", "attributes_list"].includes(name),
  );
  const all = new Map<string, unknown>([...Object.entries(own), ...given, ...listed]);
  return Object.fromEntries(
    [...all].filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => [name, String(value)]),
  );
}

/** What the section asks for and this program does not do. */
export function telemetryWarnings(config: TelemetryConfig): string[] {
  const warnings: string[] = [];
  const without = (key: string, instead: string): void => {
    warnings.push(`service::telemetry::${key} is accepted and has no effect: ${instead}`);
  };
  const traces = config.traces as { processors?: unknown; level?: unknown } | null | undefined;
  if (traces && Object.keys(traces).length > 0 && traces.level !== "none")
    without("traces", "this program does not trace itself");
  if (config.logs.processors !== undefined) without("logs::processors", "its log goes to output_paths");
  if (config.metrics.views !== undefined) without("metrics::views", "the metrics page has every metric");
  if (config.metrics.readers.some((entry) => entry.periodic !== undefined))
    without("metrics::readers::periodic", "let Prometheus or a Collector scrape the metrics page");
  return warnings;
}
