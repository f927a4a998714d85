/** What becomes of batches that a destination refuses for good: `split_refused` and `dead_letter`. The Collector has neither. */
import { bool, int, presence, section, text, type z } from "../config/schema.ts";

/** The section `split_refused`. `max_requests` bounds what one batch may cost, its first request included. */
export const splitSchema = section({
  enabled: bool(true),
  max_requests: int(1000, 3, 100_000),
});

/** The section `dead_letter`: undefined when absent, then nothing is kept. */
export const deadLetterSchema = presence({
  directory: text().refine((path) => path !== "", { error: "directory must not be empty" }),
  max_size_mib: int(100, 1, 1_048_576),
});

/** What `splitSchema` decodes to. */
export type SplitConfig = z.output<typeof splitSchema>;
/** What `deadLetterSchema` decodes to. */
export type DeadLetterConfig = NonNullable<z.output<typeof deadLetterSchema>>;
