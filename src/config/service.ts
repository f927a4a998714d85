/** The `service` section (service.Config of the Collector). */
import { describe, section, z } from "./schema.ts";
import { telemetrySchema } from "./telemetry.ts";

/** A list of component ids as written; [] when absent or null. Unlike other lists it is no comma-separated string. */
function ids() {
  const list = z.array(z.string({ error: (issue) => `expected a component id, got ${describe(issue.input)}` }), {
    error: (issue) => `source data must be an array or slice, got ${describe(issue.input)}`,
  });
  return z
    .codec(z.unknown(), list, { decode: (value) => (value ?? []) as never, encode: (value) => value as unknown })
    .prefault([]);
}

const pipeline = section({ receivers: ids(), processors: ids(), exporters: ids() });

/** `service`: which of the configured components run, and how they are joined. */
export const serviceSchema = section({
  extensions: ids(),
  pipelines: z
    .codec(
      z.unknown(),
      z.record(z.string(), pipeline, { error: (issue) => `expected a map, got ${describe(issue.input)}` }),
      {
        decode: (value) => (value ?? {}) as never,
        encode: (value) => value as unknown,
      },
    )
    .prefault({}),
  telemetry: telemetrySchema,
});

/** The decoded section. */
export type ServiceConfig = z.output<typeof serviceSchema>;
