import type { ConnectorFactory } from "../../kernel/api.ts";
import { decodeConfig } from "./config.ts";
import { RequestMerge } from "./request-merge.ts";

/** `request_merge`: one trace a request, from vLLM's spans and Omni Proxy's log (README.md beside this file). */
export const requestMergeConnectorFactory: ConnectorFactory = {
  kind: "connector",
  type: "request_merge",
  stability: "beta",
  pairs: [
    ["logs", "traces"],
    ["traces", "traces"],
  ],
  configure(section) {
    const { config, effective } = decodeConfig(section);
    return {
      effective,
      extensions: config.storage === undefined ? [] : [{ path: ["storage"], id: config.storage }],
      create: (settings) => (next, fedBy) => new RequestMerge(config, settings, next, fedBy),
    };
  },
};
