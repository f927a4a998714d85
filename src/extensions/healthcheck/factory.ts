import { formatListenAddress, parseListenAddress } from "../../config/listen-address.ts";
import { decodeSection } from "../../config/schema.ts";
import type { ExtensionFactory } from "../../kernel/api.ts";
import { healthCheckSchema } from "./config.ts";
import { HealthCheck } from "./health-check.ts";

/** `health_check` under `extensions`. */
export const healthCheckExtensionFactory: ExtensionFactory = {
  kind: "extension",
  type: "health_check",
  stability: "beta",
  configure(raw) {
    const { config, effective } = decodeSection(healthCheckSchema, raw);
    const address = parseListenAddress(config.endpoint, config.transport);
    return {
      effective,
      listens: typeof address === "string" ? [] : [{ path: ["endpoint"], address: formatListenAddress(address) }],
      create: (settings) => new HealthCheck(config, settings),
    };
  },
};
