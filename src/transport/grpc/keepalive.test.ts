import type { ServerHttp2Session } from "node:http2";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { Keepalive, type KeepaliveParameters, type Kept, PingPolicy } from "./keepalive.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("PingPolicy", () => {
  it("allows a ping every min_time and calms the client down after three that come sooner", () => {
    const policy = new PingPolicy({ minTimeMs: 10_000, permitWithoutStream: false });
    expect([0, 10_000, 20_000, 30_000].map((at) => policy.ping(at, 1))).toEqual([false, false, false, false]);
    expect([31_000, 32_000, 33_000].map((at) => policy.ping(at, 1))).toEqual([false, false, true]);
  });

  it("takes five minutes for min_time when it is 0", () => {
    const policy = new PingPolicy({ minTimeMs: 0, permitWithoutStream: true });
    expect([0, 5, 10, 15].map((minutes) => policy.ping(minutes * MINUTE, 0))).toEqual([false, false, false, false]);
    expect([16, 17, 18].map((minutes) => policy.ping(minutes * MINUTE, 0))).toEqual([false, false, true]);
  });

  it("allows a ping without a stream once in two hours unless permitted", () => {
    const strict = new PingPolicy({ minTimeMs: 1000, permitWithoutStream: false });
    expect([0, 2, 4, 6].map((hours) => strict.ping(hours * HOUR, 0))).toEqual([false, false, false, false]);
    expect([6.1, 6.2, 6.3].map((hours) => strict.ping(hours * HOUR, 0))).toEqual([false, false, true]);
  });

  it("forgets strikes when the server has sent something since", () => {
    const policy = new PingPolicy({ minTimeMs: 10_000, permitWithoutStream: false });
    for (let at = 0; at < 100; at++) {
      policy.sent();
      expect(policy.ping(at, 1)).toBe(false);
    }
    expect([100, 101, 102].map((at) => policy.ping(at, 1))).toEqual([false, false, true]);
  });
});

describe("Keepalive", () => {
  function watch(over: Partial<KeepaliveParameters>) {
    const clock = new FakeClock();
    const events: string[] = [];
    const socket = { bytesRead: 0 };
    let pong: (error: Error | null) => void = () => {};
    const kept = {
      openStreams: 0,
      session: {
        destroyed: false,
        socket,
        ping: (callback: typeof pong) => {
          events.push("ping");
          pong = callback;
          return true;
        },
      } as unknown as ServerHttp2Session,
      drain: (reason: string) => events.push(`drain ${reason}`),
      destroy: (reason: string) => events.push(`destroy ${reason}`),
    } satisfies Kept & { openStreams: number };
    const keepalive = new Keepalive(
      kept,
      {
        maxConnectionIdleMs: 0,
        maxConnectionAgeMs: 0,
        maxConnectionAgeGraceMs: 0,
        timeMs: 0,
        timeoutMs: 0,
        ...over,
      },
      clock,
    );
    keepalive.start();
    return { clock, events, socket, kept, keepalive, answer: () => pong(null) };
  }

  it("drains a connection that had no call for max_connection_idle", async () => {
    const { clock, events, kept, keepalive } = watch({ maxConnectionIdleMs: 1000 });
    kept.openStreams = 1;
    await clock.advance(5000);
    expect(events).toEqual([]);
    kept.openStreams = 0;
    keepalive.idle();
    await clock.advance(999);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual(["drain max_idle"]);
  });

  it("drains at max_connection_age, give or take a tenth, and closes after the grace", async () => {
    const { clock, events, kept } = watch({ maxConnectionAgeMs: 10_000, maxConnectionAgeGraceMs: 500 });
    kept.openStreams = 1;
    await clock.advance(8999);
    expect(events).toEqual([]);
    await clock.advance(2001);
    expect(events[0]).toBe("drain max_age");
    await clock.advance(500);
    expect(events).toEqual(["drain max_age", "destroy max_connection_age_grace is over"]);
  });

  it("pings a connection that was quiet for two hours and closes it when no answer comes within 20 s", async () => {
    const { clock, events } = watch({});
    await clock.advance(2 * HOUR - 1);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual(["ping"]);
    await clock.advance(20_000);
    expect(events).toEqual(["ping", "destroy keepalive ping not answered"]);
  });

  it("does not ping while bytes come in, and goes on after an answered ping", async () => {
    const { clock, events, socket, answer } = watch({ timeMs: 1000, timeoutMs: 100 });
    socket.bytesRead = 10;
    await clock.advance(1000);
    expect(events).toEqual([]);
    await clock.advance(1000);
    expect(events).toEqual(["ping"]);
    answer();
    await clock.advance(999);
    expect(events).toEqual(["ping"]);
    await clock.advance(1);
    expect(events).toEqual(["ping", "ping"]);
  });

  it("leaves no timer behind when stopped", () => {
    const { clock, keepalive } = watch({ maxConnectionIdleMs: 1, maxConnectionAgeMs: 1 });
    expect(clock.pending).toBe(3);
    keepalive.stop();
    expect(clock.pending).toBe(0);
  });
});
