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

/** A peer refused for good what a request holds, not who sends it or where: parts of it may be taken. */
export class ContentError extends ConsumeError {
  constructor(message: string, options: { grpcCode: number; cause?: unknown }) {
    super("permanent", message, options);
    this.name = "ContentError";
  }
}

/** How batches that a peer refuses are divided, and who is told. */
export interface Division {
  /** Requests that looking for what a peer does not take may cost a batch, the first one included; 0: it is not looked for. */
  readonly maxRequests: number;
  /** Told of each request that is sent again in parts. */
  onDivide(failure: ConsumeError, batch: AnyBatch): void;
  /** Whether a part that failed so keeps its whole batch in the queue. Sending then stops. */
  isKept(failure: ConsumeError): boolean;
}

/** A part that was given up. */
export interface FailedPart {
  readonly failure: ConsumeError;
  readonly part: AnyBatch;
}

/** What became of batches. */
export interface Delivery {
  /** In no particular order. Empty when everything was delivered, or when it is all tried again. */
  readonly failed: readonly FailedPart[];
  /** Why the batches have to come again as they are, parts that the peer has taken included. */
  readonly kept?: ConsumeError;
}

/**
 * In how many parts a batch is sent, none of which the peer takes, before it is seen that it refuses the batch and not a
 * part of it: halves, quarters, eighths, sixteenths. It bounds what a peer costs that refuses everything.
 */
const HOPELESS_PARTS = 16;

/**
 * Sends these batches one after the other. What the peer finds too large goes in halves, down to single items. Where it
 * refuses what a batch holds, the halves are sent, and of these the ones that are refused in halves again, until what it
 * does not take stands alone or `maxRequests` are spent.
 */
export async function sendDividing(
  send: Sender,
  batches: readonly AnyBatch[],
  signal: AbortSignal,
  division: Division,
): Promise<Delivery> {
  const failed: FailedPart[] = [];
  for (const batch of batches) {
    const kept = await new Search(send, signal, division, failed).run(batch);
    if (kept) return { failed: [], kept };
  }
  return { failed };
}

/** Delivers one batch. */
class Search {
  readonly #send: Sender;
  readonly #signal: AbortSignal;
  readonly #division: Division;
  readonly #failed: FailedPart[];
  #requests = 0;
  #hasTaken = false;

  constructor(send: Sender, signal: AbortSignal, division: Division, failed: FailedPart[]) {
    this.#send = send;
    this.#signal = signal;
    this.#division = division;
    this.#failed = failed;
  }

  /** @returns why all of it is kept, if it is */
  async run(batch: AnyBatch): Promise<ConsumeError | undefined> {
    let parts: readonly AnyBatch[] = [batch];
    // Level by level, so that what is left when requests run out is in pieces of one size.
    for (let count = 1; parts.length > 0; count *= 2) {
      const refused: FailedPart[] = [];
      const kept = await this.#sendAll(parts, refused);
      if (kept) return kept;
      const isHopeless = count >= HOPELESS_PARTS && !this.#hasTaken;
      parts = isHopeless ? this.#giveUp(refused) : this.#halvesOf(refused);
    }
    return undefined;
  }

  /** Sends all of these, and of each one that is too large its halves in its place. `refused` gets those whose content the peer does not take. */
  async #sendAll(parts: readonly AnyBatch[], refused: FailedPart[]): Promise<ConsumeError | undefined> {
    const left = [...parts];
    for (let part = left.shift(); part; part = left.shift()) {
      try {
        this.#requests++;
        await this.#send(part, this.#signal);
        this.#hasTaken = true;
      } catch (error) {
        const failure = ConsumeError.from(error);
        if (this.#division.isKept(failure)) return failure;
        if (failure instanceof TooLargeError && part.items > 1) left.unshift(...this.#halves({ failure, part }));
        else (failure instanceof ContentError ? refused : this.#failed).push({ failure, part });
      }
    }
    return undefined;
  }

  #halvesOf(refused: readonly FailedPart[]): AnyBatch[] {
    let room = this.#division.maxRequests - this.#requests;
    return refused.flatMap((one) => {
      if (one.part.items < 2 || room < 2) return this.#giveUp([one]);
      room -= 2;
      return this.#halves(one);
    });
  }

  #halves({ failure, part }: FailedPart): AnyBatch[] {
    this.#division.onDivide(failure, part);
    return splitBatch(part, Math.ceil(part.items / 2));
  }

  #giveUp(refused: readonly FailedPart[]): [] {
    this.#failed.push(...refused);
    return [];
  }
}
