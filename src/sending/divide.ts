import { ConsumeError } from "../kernel/errors.ts";
import { splitBatch } from "../pdata/split.ts";
import type { AnyBatch, Sender } from "./sender.ts";

/** A peer refused a request for nothing but its size: half of it may be taken. */
export class TooLargeError extends ConsumeError {
  constructor(message: string, options: { grpcCode: number; cause?: unknown }) {
    super("permanent", message, options);
    this.name = "TooLargeError";
  }
}

/** Whether `failure` of `batch` is answered by sending its halves. */
export function isDivisible(failure: ConsumeError, batch: AnyBatch): boolean {
  return failure instanceof TooLargeError && batch.items > 1;
}

/**
 * Sends these batches one after the other, each in as many parts as the peer's limit demands.
 * @param onFailure told of each part that could not be delivered; false stops here
 * @returns the last failure, or undefined when everything was delivered
 */
export async function sendDividing(
  send: Sender,
  batches: readonly AnyBatch[],
  signal: AbortSignal,
  onFailure: (failure: ConsumeError, part: AnyBatch) => boolean,
): Promise<ConsumeError | undefined> {
  let last: ConsumeError | undefined;
  const left = [...batches];
  for (let part = left.shift(); part; part = left.shift()) {
    try {
      await send(part, signal);
    } catch (error) {
      const failure = ConsumeError.from(error);
      if (isDivisible(failure, part)) {
        left.unshift(...splitBatch(part, Math.ceil(part.items / 2)));
        continue;
      }
      last = failure;
      if (!onFailure(failure, part)) break;
    }
  }
  return last;
}
