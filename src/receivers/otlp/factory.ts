/** `otlp` under `receivers`. */

import { formatListenAddress } from "../../config/listen-address.ts";
import { decodeSection } from "../../config/schema.ts";
import type { ReceiverFactory } from "../../kernel/api.ts";
import { authExtensions } from "../../transport/auth.ts";
import { listenAddress, otlpReceiverSchema } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

export const otlpReceiverFactory: ReceiverFactory = {
  kind: "receiver",
  type: "otlp",
  stability: "stable",
  signals: ["traces", "metrics", "logs"],
  configure(value) {
    const { config, effective } = decodeSection(otlpReceiverSchema, value);
    const protocols = [
      ["grpc", config.protocols.grpc],
      ["http", config.protocols.http],
    ] as const;
    return {
      effective,
      extensions: protocols.flatMap(([name, protocol]) => authExtensions(protocol?.auth, "protocols", name)),
      listens: protocols.flatMap(([name, protocol]) =>
        protocol
          ? [{ path: ["protocols", name, "endpoint"], address: formatListenAddress(listenAddress(protocol)) }]
          : [],
      ),
      create: (settings) => (next) => new OtlpReceiver(config, settings, next),
    };
  },
};
