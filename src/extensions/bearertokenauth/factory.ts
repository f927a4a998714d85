import { decodeSection } from "../../config/schema.ts";
import type { ExtensionFactory } from "../../kernel/api.ts";
import { BearerTokenAuth } from "./bearer-token-auth.ts";
import { bearerTokenAuthSchema } from "./config.ts";

/** `bearertokenauth` under `extensions`: for receivers and exporters (README.md beside this file). */
export const bearerTokenAuthExtensionFactory: ExtensionFactory = {
  kind: "extension",
  type: "bearertokenauth",
  stability: "beta",
  configure(raw) {
    const { config, effective } = decodeSection(bearerTokenAuthSchema, raw);
    return { effective, create: (settings) => new BearerTokenAuth(config, settings) };
  },
};
