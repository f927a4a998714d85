import { decodeSection } from "../../config/schema.ts";
import type { ReceiverFactory } from "../../kernel/api.ts";
import { schema } from "./config.ts";
import { OmniProxyLogReceiver } from "./receiver.ts";

/** Follows the log files of Omni Proxy (and of vLLM's omnilogger) and gives an OTLP log record a line. See README.md. */
export const omniProxyLogReceiverFactory: ReceiverFactory = {
  kind: "receiver",
  type: "omni_proxy_log",
  stability: "beta",
  signals: ["logs"],
  configure(section) {
    const { config, effective } = decodeSection(schema, section);
    return {
      effective,
      extensions: config.storage === undefined ? [] : [{ path: ["storage"], id: config.storage }],
      create: (settings) => (next) => {
        if (!next.logs) throw new Error("omni_proxy_log gives logs: put it into a logs pipeline");
        return new OmniProxyLogReceiver(config, settings, next.logs);
      },
    };
  },
};
