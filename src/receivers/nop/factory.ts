import { decodeSection, section } from "../../config/schema.ts";
import type { ReceiverFactory } from "../../kernel/api.ts";

/** `nop`: a receiver that receives nothing, so that a pipeline fed by nobody can be written down (nopreceiver). No settings. */
export const nopReceiverFactory: ReceiverFactory = {
  kind: "receiver",
  type: "nop",
  stability: "beta",
  signals: ["traces", "metrics", "logs"],
  configure(raw) {
    const { effective } = decodeSection(section({}), raw);
    return { effective, create: () => () => ({ start: async () => {}, shutdown: async () => {} }) };
  },
};
