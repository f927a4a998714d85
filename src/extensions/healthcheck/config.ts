import { bool, duration, int, presence, section, text, withHint, type z } from "../../config/schema.ts";
import { listenEndpoint, listenTransport } from "../../transport/listen-config.ts";
import { notYet } from "../../transport/server-config.ts";

/** The Collector's port for it. */
const PORT = 13133;

/** Keys and defaults of healthcheckextension. */
export const healthCheckSchema = section({
  endpoint: listenEndpoint(PORT),
  transport: listenTransport(),
  path: text("/").check((ctx) => {
    if (!ctx.value.startsWith("/"))
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        message: withHint("path must start with /", `write /${ctx.value}`),
      });
  }),
  response_body: presence({ healthy: text(""), unhealthy: text("") }),
  check_collector_pipeline: section({
    enabled: bool(false),
    interval: duration("5m"),
    exporter_failure_threshold: int(5, 1),
  }),
  tls: notYet("tls"),
  auth: notYet("auth"),
});

/** The decoded section. */
export type HealthCheckConfig = z.output<typeof healthCheckSchema>;
