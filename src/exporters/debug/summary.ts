import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import { LEN, WireCursor } from "../../pdata/wire.ts";

/** What verbosity `basic` says of a batch, with the Collector's message and field names. */
export function summarize(batch: OtlpBatch<Signal>): {
  readonly message: string;
  readonly counts: Record<string, number>;
} {
  const resources = countPath(batch.bytes, [1]);
  switch (batch.signal) {
    case "traces":
      return { message: "Traces", counts: { "resource spans": resources, spans: batch.items } };
    case "metrics":
      return {
        message: "Metrics",
        counts: {
          "resource metrics": resources,
          // ResourceMetrics=1, scope_metrics=2, metrics=2.
          metrics: countPath(batch.bytes, [1, 2, 2]),
          "data points": batch.items,
        },
      };
    case "logs":
      return { message: "Logs", counts: { "resource logs": resources, "log records": batch.items } };
  }
}

/** How many messages there are under these field numbers. */
function countPath(bytes: Uint8Array, [field, ...rest]: readonly number[]): number {
  let count = 0;
  const cursor = new WireCursor(bytes);
  while (cursor.next()) {
    if (cursor.field !== field || cursor.wire !== LEN) continue;
    count += rest.length === 0 ? 1 : countPath(cursor.view(), rest);
  }
  return count;
}
