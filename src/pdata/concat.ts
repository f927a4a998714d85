import type { OtlpBatch, Signal } from "./payload.ts";

/**
 * One request that holds everything of `batches`, in order. Encoded requests are concatenated as they are, into one
 * allocation: protobuf reads repeated fields of concatenated messages as one list. A single batch comes back itself.
 */
export function concatBatches<S extends Signal>(batches: readonly [OtlpBatch<S>, ...OtlpBatch<S>[]]): OtlpBatch<S> {
  const [first] = batches;
  if (batches.length === 1) return first;
  let items = 0;
  let size = 0;
  for (const batch of batches) {
    items += batch.items;
    size += batch.bytes.length;
  }
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const batch of batches) {
    bytes.set(batch.bytes, at);
    at += batch.bytes.length;
  }
  return { signal: first.signal, bytes, items };
}
