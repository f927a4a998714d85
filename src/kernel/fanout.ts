import type { CallContext, Consumer, Payload, Signal } from "./api.ts";
import { ConsumeError } from "./errors.ts";

/**
 * One consumer that stands for several: each gets the batch, a copy of its own when it may write into it
 * (internal/fanoutconsumer). All are called at once and all are waited for, so a slow one delays the acknowledgement
 * but not the others. When some refuse, the sender is told to send again if any of them wants that: those that had
 * taken the batch then see it twice, none misses it.
 */
export function fanOut<S extends Signal>(consumers: readonly Consumer<S>[]): Consumer<S> {
  const [only] = consumers;
  if (only && consumers.length === 1) return only;
  return new FanOut(consumers);
}

class FanOut<S extends Signal> implements Consumer<S> {
  readonly mutatesData: boolean;
  readonly #consumers: readonly Consumer<S>[];

  constructor(consumers: readonly Consumer<S>[]) {
    this.#consumers = consumers;
    // Only when every consumer writes may one of them have the original.
    this.mutatesData = consumers.length > 0 && consumers.every((consumer) => consumer.mutatesData);
  }

  async consume(batch: Payload[S], call: CallContext): Promise<void> {
    const last = this.mutatesData ? this.#consumers.length - 1 : -1;
    // All copies are made before anyone can write.
    const batches = this.#consumers.map((consumer, index) =>
      consumer.mutatesData && index !== last ? { ...batch, bytes: batch.bytes.slice() } : batch,
    );
    const results = await Promise.allSettled(
      this.#consumers.map(async (consumer, index) => consumer.consume(batches[index] as Payload[S], call)),
    );
    const errors = results.flatMap((result) =>
      result.status === "rejected" ? [ConsumeError.from(result.reason)] : [],
    );
    if (errors.length > 0) throw combine(errors);
  }
}

function combine(errors: readonly ConsumeError[]): ConsumeError {
  const [first, ...others] = errors;
  if (first && others.length === 0) return first;
  const retryable = errors.filter((error) => error.disposition === "retryable");
  const decisive = retryable[0] ?? (first as ConsumeError);
  const waits = retryable.flatMap((error) => error.retryAfterMs ?? []);
  return new ConsumeError(decisive.disposition, errors.map((error) => error.message).join("; "), {
    retryAfterMs: waits.length > 0 ? Math.max(...waits) : undefined,
    grpcCode: decisive.grpcCode,
    cause: decisive,
  });
}
