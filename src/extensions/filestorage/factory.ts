import { decodeSection } from "../../config/schema.ts";
import type { ExtensionFactory } from "../../kernel/api.ts";
import { schema } from "./config.ts";
import { FileStorage } from "./file-storage.ts";

/** `file_storage`: durable queues and state for the components that name it (README.md beside this file). */
export const fileStorageExtensionFactory: ExtensionFactory = {
  kind: "extension",
  type: "file_storage",
  stability: "beta",
  configure(section) {
    const { config, effective } = decodeSection(schema, section);
    return { effective, create: (settings) => new FileStorage(config, settings) };
  },
};
