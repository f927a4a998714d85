/** `retry_on_failure`: the Collector's keys, defaults and backoff (config/configretry, exporterhelper's retry sender). */
import { bool, duration, float, formatDuration, section, type z } from "../config/schema.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { type Clock, sleep } from "../telemetry/clock.ts";
import { linkAbort, type Sender } from "./sender.ts";

/** The section `retry_on_failure`; durations are milliseconds, `max_elapsed_time` 0 never gives up. */
export const retrySchema = section({
  enabled: bool(true),
  initial_interval: duration("5s"),
  randomization_factor: float(0.5, 0, 1),
  multiplier: float(1.5),
  max_interval: duration("30s"),
  max_elapsed_time: duration("5m"),
}).check((ctx) => {
  const { enabled, initial_interval, max_interval, max_elapsed_time } = ctx.value;
  if (!enabled || max_elapsed_time === 0) return;
  for (const [key, value] of Object.entries({ initial_interval, max_interval }))
    if (max_elapsed_time < value)
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        path: ["max_elapsed_time"],
        message: `'max_elapsed_time' (${formatDuration(max_elapsed_time)}) must not be less than '${key}' (${formatDuration(value)})`,
      });
});

/** What `retrySchema` decodes to. */
export type RetryConfig = z.output<typeof retrySchema>;

/** However the intervals are set, a refusing peer is never asked in a tight loop. */
const SHORTEST_DELAY_MS = 10;

/** A peer that asks for more than this is asked again anyway. */
const LONGEST_HINT_MS = 3_600_000;

/** The delays between tries of one request: exponential, each spread by the randomization factor (cenkalti/backoff). */
export class Backoff {
  readonly #config: RetryConfig;
  readonly #random: () => number;
  #interval: number;

  /** @param random gives numbers in [0, 1). */
  constructor(config: RetryConfig, random: () => number = Math.random) {
    this.#config = config;
    this.#random = random;
    this.#interval = config.initial_interval;
  }

  /** Milliseconds to wait before the next try. */
  next(): number {
    const { randomization_factor, multiplier, max_interval } = this.#config;
    const delta = randomization_factor * this.#interval;
    const delay = this.#interval - delta + this.#random() * 2 * delta;
    this.#interval = Math.min(this.#interval * multiplier, max_interval);
    return Math.max(delay, SHORTEST_DELAY_MS);
  }
}

/** What `withRetry` needs besides the configuration. */
export interface RetryDeps {
  readonly clock: Clock;
  /** Aborts at shutdown: whoever waits tries once more at once, and nobody waits again. */
  readonly stopping: AbortSignal;
  /** Told before each wait. */
  onRetry(error: ConsumeError, delayMs: number): void;
  readonly random?: () => number;
}

/**
 * Sends again after a retryable failure, not before the peer's own hint (`retryAfterMs`) is over. Gives up on a
 * permanent failure, when the next try would start after `max_elapsed_time`, and when `signal` aborts.
 */
export function withRetry(next: Sender, config: RetryConfig, deps: RetryDeps): Sender {
  if (!config.enabled) return next;
  const { clock, stopping } = deps;
  return async (batch, signal) => {
    const backoff = new Backoff(config, deps.random);
    const giveUpAt =
      config.max_elapsed_time > 0 ? clock.monotonic() + config.max_elapsed_time : Number.POSITIVE_INFINITY;
    for (;;) {
      const lastTry = stopping.aborted;
      let failure: ConsumeError;
      try {
        return await next(batch, signal);
      } catch (error) {
        failure = ConsumeError.from(error);
      }
      if (failure.disposition === "permanent" || lastTry || signal.aborted) throw failure;
      const delay = Math.max(backoff.next(), Math.min(failure.retryAfterMs ?? 0, LONGEST_HINT_MS));
      if (clock.monotonic() + delay > giveUpAt) throw because("no more retries left", failure);
      deps.onRetry(failure, delay);
      const wait = linkAbort(signal, stopping);
      try {
        await sleep(clock, delay, wait.signal);
      } catch {
        if (signal.aborted) throw because("request is cancelled or timed out", failure);
      } finally {
        wait.release();
      }
    }
  };
}

function because(prefix: string, failure: ConsumeError): ConsumeError {
  const { disposition, retryAfterMs, grpcCode } = failure;
  return new ConsumeError(disposition, `${prefix}: ${failure.message}`, { retryAfterMs, grpcCode, cause: failure });
}
