/** Hands batches on until they are taken. */
import type { Consumer } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { type Clock, sleep } from "../../telemetry/clock.ts";
import type { RetryConfig } from "./config.ts";
import type { Telemetry } from "./telemetry.ts";

/**
 * Calls `next` with one batch until it is accepted, refused for good, or out of its time. While it waits nothing more
 * is read of that file: that is the backpressure, and the file itself is the buffer.
 */
export class Delivery {
  readonly #next: Consumer<"logs">;
  readonly #retry: RetryConfig;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  readonly #stopped: AbortSignal;

  /** @param stopped from then on nothing is tried again */
  constructor(next: Consumer<"logs">, retry: RetryConfig, clock: Clock, telemetry: Telemetry, stopped: AbortSignal) {
    this.#next = next;
    this.#retry = retry;
    this.#clock = clock;
    this.#telemetry = telemetry;
    this.#stopped = stopped;
  }

  /**
   * Resolves when the batch is dealt with: accepted, or refused for good and counted.
   * @throws the reason of `stopped` when it came first: the batch counts as not handed on.
   */
  async deliver(bytes: Buffer, lines: number, path: string): Promise<void> {
    const began = this.#clock.monotonic();
    for (let wait = this.#retry.initial_interval; ; wait = Math.min(wait * 2, this.#retry.max_interval)) {
      this.#stopped.throwIfAborted();
      const refusal = await this.#offer(bytes, lines);
      if (refusal === undefined) return this.#telemetry.accepted(lines);
      this.#stopped.throwIfAborted();
      const pause = Math.max(wait, refusal.retryAfterMs ?? 0);
      if (!this.#isWorthRetrying(refusal, this.#clock.monotonic() + pause - began))
        return this.#telemetry.refused(lines, { path, error: refusal });
      this.#telemetry.warn(path, "the pipeline does not take log lines just now: waiting with the next ones", {
        path,
        error: refusal,
      });
      await sleep(this.#clock, pause, this.#stopped);
    }
  }

  #isWorthRetrying(refusal: ConsumeError, elapsedMs: number): boolean {
    const { enabled, max_elapsed_time } = this.#retry;
    return refusal.disposition === "retryable" && enabled && (max_elapsed_time === 0 || elapsedMs < max_elapsed_time);
  }

  async #offer(bytes: Buffer, items: number): Promise<ConsumeError | undefined> {
    const own = this.#next.mutatesData ? Buffer.from(bytes) : bytes;
    try {
      await this.#next.consume({ signal: "logs", bytes: own, items }, { signal: this.#stopped });
      return undefined;
    } catch (error) {
      return ConsumeError.from(error);
    }
  }
}
