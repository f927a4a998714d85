import { decodeSection } from "../../config/schema.ts";
import type { ExtensionFactory } from "../../kernel/api.ts";
import { BasicAuthClient } from "./basic-auth-client.ts";
import { BasicAuthServer } from "./basic-auth-server.ts";
import { basicAuthSchema } from "./config.ts";

/** `basicauth` under `extensions`: with `htpasswd` for receivers, with `client_auth` for exporters (README.md beside this file). */
export const basicAuthExtensionFactory: ExtensionFactory = {
  kind: "extension",
  type: "basicauth",
  stability: "beta",
  configure(raw) {
    const { config, effective } = decodeSection(basicAuthSchema, raw);
    const { htpasswd, client_auth } = config;
    return {
      effective,
      create: (settings) => {
        if (client_auth) return new BasicAuthClient(client_auth, settings);
        const source = { file: htpasswd?.file ?? "", inline: htpasswd?.inline?.reveal() ?? "" };
        return new BasicAuthServer(source, settings);
      },
    };
  },
};
