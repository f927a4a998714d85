import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../test/kit/clock.ts";
import { decodeSection } from "../config/schema.ts";
import { ConfigErrors, ConsumeError } from "../kernel/errors.ts";
import { Backoff, type RetryConfig, retrySchema, withRetry } from "./retry.ts";
import type { AnyBatch, Sender } from "./sender.ts";

const batch: AnyBatch = { signal: "traces", bytes: new Uint8Array(3), items: 1 };
const config = (over: object = {}): RetryConfig => decodeSection(retrySchema, over).config;
const fails = new ConsumeError("retryable", "connection refused");

/** A sender that answers from a list, then succeeds; notes when it was asked. */
function scripted(clock: FakeClock, answers: (Error | undefined)[]): { send: Sender; at: number[] } {
  const at: number[] = [];
  return {
    at,
    send: async () => {
      at.push(clock.monotonic());
      const answer = answers.shift();
      if (answer) throw answer;
    },
  };
}

function retrying(clock: FakeClock, send: Sender, over: object = {}, stopping = new AbortController()) {
  const told: number[] = [];
  const sender = withRetry(send, config(over), {
    clock,
    stopping: stopping.signal,
    onRetry: (_error, delay) => told.push(delay),
    random: () => 0.5,
  });
  return { sender, told, stopping };
}

describe("retrySchema", () => {
  it("has the Collector's defaults", () => {
    expect(decodeSection(retrySchema, undefined).effective).toEqual({
      enabled: true,
      initial_interval: "5s",
      randomization_factor: 0.5,
      multiplier: 1.5,
      max_interval: "30s",
      max_elapsed_time: "5m0s",
    });
  });

  it("refuses a max_elapsed_time below an interval, names both, and accepts 0", () => {
    expect(() => config({ max_elapsed_time: "20s" })).toThrow(ConfigErrors);
    expect(() => config({ max_elapsed_time: "20s" })).toThrow(
      "max_elapsed_time: 'max_elapsed_time' (20s) must not be less than 'max_interval' (30s)",
    );
    expect(config({ max_elapsed_time: 0 }).max_elapsed_time).toBe(0);
  });
});

describe("Backoff", () => {
  it("next stays within the randomization factor of an interval that grows to max_interval", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), (numbers) => {
        const backoff = new Backoff(config(), () => numbers.next().value as number);
        let interval = 5000;
        for (let retry = 0; retry < 12; retry++) {
          const delay = backoff.next();
          expect(delay).toBeGreaterThanOrEqual(interval * 0.5);
          expect(delay).toBeLessThanOrEqual(interval * 1.5);
          interval = Math.min(interval * 1.5, 30_000);
        }
      }),
    );
  });

  it("next never gives a tight loop when every interval is 0", () => {
    const backoff = new Backoff(config({ initial_interval: 0, max_interval: 0, max_elapsed_time: 0 }));
    expect(backoff.next()).toBeGreaterThanOrEqual(10);
  });
});

describe("withRetry", () => {
  it("sends again after growing intervals until the peer takes it", async () => {
    const clock = new FakeClock();
    const { send, at } = scripted(clock, [fails, fails, fails]);
    const { sender, told } = retrying(clock, send);
    const done = sender(batch, new AbortController().signal);
    await clock.advance(60_000);
    await done;
    expect(at).toEqual([0, 5000, 12_500, 23_750]);
    expect(told).toEqual([5000, 7500, 11_250]);
  });

  it("waits at least as long as the peer asks", async () => {
    const clock = new FakeClock();
    const slow = new ConsumeError("retryable", "throttled", { retryAfterMs: 20_000 });
    const hasty = new ConsumeError("retryable", "throttled", { retryAfterMs: 1 });
    const { send, at } = scripted(clock, [slow, hasty]);
    const done = retrying(clock, send).sender(batch, new AbortController().signal);
    await clock.advance(60_000);
    await done;
    expect(at).toEqual([0, 20_000, 27_500]);
  });

  it("does not retry when the failure is permanent", async () => {
    const clock = new FakeClock();
    const refused = new ConsumeError("permanent", "bad data");
    const { send, at } = scripted(clock, [refused]);
    await expect(retrying(clock, send).sender(batch, new AbortController().signal)).rejects.toBe(refused);
    expect(at).toEqual([0]);
  });

  it("gives up when the next try would start after max_elapsed_time, keeping cause and code", async () => {
    const clock = new FakeClock();
    const always: Sender = async () => {
      throw new ConsumeError("retryable", "away", { grpcCode: 14 });
    };
    const { sender, told } = retrying(clock, always);
    const outcome = sender(batch, new AbortController().signal).catch((error: unknown) => error);
    await clock.advance(400_000);
    const error = (await outcome) as ConsumeError;
    expect(error).toMatchObject({ disposition: "retryable", grpcCode: 14, message: "no more retries left: away" });
    const waited = told.reduce((sum, delay) => sum + delay, 0);
    expect(waited).toBeLessThanOrEqual(300_000);
    expect(waited + 30_000).toBeGreaterThan(300_000);
  });

  it("never gives up when max_elapsed_time is 0", async () => {
    const clock = new FakeClock();
    const { send, at } = scripted(
      clock,
      Array.from({ length: 500 }, () => fails),
    );
    const done = retrying(clock, send, { max_elapsed_time: 0 }).sender(batch, new AbortController().signal);
    await clock.advance(500 * 30_000);
    await done;
    expect(at).toHaveLength(501);
  });

  it("tries once more at once when shutdown begins during a wait, then gives up", async () => {
    const clock = new FakeClock();
    const { send, at } = scripted(clock, [fails, fails, fails]);
    const { sender, stopping } = retrying(clock, send);
    const outcome = sender(batch, new AbortController().signal).catch((error: unknown) => error);
    await clock.advance(1000);
    stopping.abort();
    await settle();
    expect(await outcome).toBe(fails);
    expect(at).toEqual([0, 1000]);
    expect(clock.pending).toBe(0);
  });

  it("stops waiting when the caller gives up", async () => {
    const clock = new FakeClock();
    const caller = new AbortController();
    const { send } = scripted(clock, [fails]);
    const outcome = retrying(clock, send)
      .sender(batch, caller.signal)
      .catch((error: Error) => error.message);
    await clock.advance(10);
    caller.abort();
    expect(await outcome).toBe("request is cancelled or timed out: connection refused");
    expect(clock.pending).toBe(0);
  });

  it("sends once when it is not enabled", async () => {
    const clock = new FakeClock();
    const { send, at } = scripted(clock, [fails]);
    await expect(retrying(clock, send, { enabled: false }).sender(batch, new AbortController().signal)).rejects.toBe(
      fails,
    );
    expect(at).toEqual([0]);
  });
});
