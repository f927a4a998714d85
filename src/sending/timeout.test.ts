import { describe, expect, it } from "vitest";
import { FakeClock } from "../../test/kit/clock.ts";
import type { AnyBatch } from "./sender.ts";
import { withTimeout } from "./timeout.ts";

const batch: AnyBatch = { signal: "logs", bytes: new Uint8Array(1), items: 1 };
const patient = new AbortController().signal;

describe("withTimeout", () => {
  it("ends an attempt that hangs, tells the sender, and makes it retryable with DEADLINE_EXCEEDED", async () => {
    const clock = new FakeClock();
    let told: AbortSignal | undefined;
    const send = withTimeout(
      (_batch, signal) => {
        told = signal;
        return new Promise(() => {});
      },
      5000,
      clock,
    );
    const outcome = send(batch, patient).catch((error: unknown) => error);
    await clock.advance(4999);
    expect(told?.aborted).toBe(false);
    await clock.advance(1);
    expect(told?.aborted).toBe(true);
    expect(await outcome).toMatchObject({
      disposition: "retryable",
      grpcCode: 4,
      message: "no answer within 5s (setting: timeout)",
    });
  });

  it("leaves no timer behind when the attempt settles in time", async () => {
    const clock = new FakeClock();
    await withTimeout(async () => {}, 5000, clock)(batch, patient);
    expect(clock.pending).toBe(0);
  });

  it("passes the caller's abort on", async () => {
    const caller = new AbortController();
    const send = withTimeout(() => new Promise(() => {}), 5000, new FakeClock());
    const outcome = send(batch, caller.signal).catch((error: unknown) => error);
    caller.abort(new Error("gone"));
    expect(await outcome).toMatchObject({ message: "gone" });
  });

  it("does not bound an attempt when the timeout is 0", () => {
    const send = async (): Promise<void> => {};
    expect(withTimeout(send, 0, new FakeClock())).toBe(send);
  });
});
