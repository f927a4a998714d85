/** Keepalive of one HTTP/2 connection, as grpc-go's server does it (internal/transport/http2_server.go, keepalive and handlePing). */
import type { ServerHttp2Session } from "node:http2";
import type { Clock, Timer } from "../../telemetry/clock.ts";

/** `keepalive.server_parameters` in milliseconds; 0 = grpc-go's default, which is infinity for the first three. */
export interface KeepaliveParameters {
  readonly maxConnectionIdleMs: number;
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
  /** Ping a connection on which nothing was read for so long; 0 = 2 h. */
  readonly timeMs: number;
  /** Close it when the ping is not answered within this; 0 = 20 s. */
  readonly timeoutMs: number;
}

/** `keepalive.enforcement_policy`: how often a client may ping. */
export interface EnforcementPolicy {
  /** 0 = 5 min. */
  readonly minTimeMs: number;
  readonly permitWithoutStream: boolean;
}

const DEFAULT_TIME_MS = 2 * 3_600_000;
const DEFAULT_TIMEOUT_MS = 20_000;
const DEFAULT_MIN_TIME_MS = 5 * 60_000;
/** Without an open stream a client that may not ping is still forgiven one ping in this time (grpc-go's defaultPingTimeout). */
const PING_WITHOUT_STREAM_MS = 2 * 3_600_000;
/** More strikes than this end the connection. */
const MAX_PING_STRIKES = 2;

/** Decides whether a client pings too often. A response to the client wipes its strikes. */
export class PingPolicy {
  readonly #policy: EnforcementPolicy;
  #strikes = 0;
  #lastPing = Number.NEGATIVE_INFINITY;
  #forgive = false;

  constructor(policy: EnforcementPolicy) {
    this.#policy = policy;
  }

  /** Data or headers were sent to the client: its next ping counts from zero. */
  sent(): void {
    this.#forgive = true;
  }

  /** A ping came at `now` (monotonic ms). @returns true when the client must be told to calm down. */
  ping(now: number, openStreams: number): boolean {
    const since = now - this.#lastPing;
    this.#lastPing = now;
    if (this.#forgive) {
      this.#forgive = false;
      this.#strikes = 0;
      return false;
    }
    const allowed =
      openStreams === 0 && !this.#policy.permitWithoutStream
        ? PING_WITHOUT_STREAM_MS
        : this.#policy.minTimeMs || DEFAULT_MIN_TIME_MS;
    if (since < allowed) this.#strikes++;
    return this.#strikes > MAX_PING_STRIKES;
  }
}

/** What keepalive asks of the connection it watches. */
export interface Kept {
  readonly session: ServerHttp2Session;
  readonly openStreams: number;
  /** GOAWAY; calls in progress finish. */
  drain(reason: "max_idle" | "max_age"): void;
  /** Ends the connection with what is still open on it. */
  destroy(reason: string): void;
}

/** The timers of one connection: idle, age and dead-peer. */
export class Keepalive {
  readonly #kept: Kept;
  readonly #clock: Clock;
  readonly #parameters: KeepaliveParameters;
  readonly #timers = new Set<Timer>();
  #idleSince: number;
  #bytesRead = 0;

  constructor(kept: Kept, parameters: KeepaliveParameters, clock: Clock) {
    this.#kept = kept;
    this.#clock = clock;
    this.#parameters = parameters;
    this.#idleSince = clock.monotonic();
  }

  start(): void {
    const { maxConnectionIdleMs, maxConnectionAgeMs, timeMs } = this.#parameters;
    if (maxConnectionIdleMs > 0) this.#watchIdle(maxConnectionIdleMs);
    // ±10 % so that clients that came together do not all come back together.
    if (maxConnectionAgeMs > 0) this.#after(maxConnectionAgeMs * (0.9 + 0.2 * Math.random()), () => this.#ageOut());
    this.#watchPeer(timeMs || DEFAULT_TIME_MS);
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  /** The last open stream has closed. */
  idle(): void {
    this.#idleSince = this.#clock.monotonic();
  }

  #after(ms: number, fire: () => void): Timer {
    const timer = this.#clock.after(ms, () => {
      this.#timers.delete(timer);
      fire();
    });
    this.#timers.add(timer);
    return timer;
  }

  #watchIdle(ms: number): void {
    this.#after(ms, () => {
      const maximum = this.#parameters.maxConnectionIdleMs;
      const idleFor = this.#kept.openStreams > 0 ? 0 : this.#clock.monotonic() - this.#idleSince;
      const left = maximum - idleFor;
      if (left > 0) this.#watchIdle(left);
      else this.#kept.drain("max_idle");
    });
  }

  #ageOut(): void {
    this.#kept.drain("max_age");
    const grace = this.#parameters.maxConnectionAgeGraceMs;
    if (grace > 0) this.#after(grace, () => this.#kept.destroy("max_connection_age_grace is over"));
  }

  #watchPeer(ms: number): void {
    this.#after(ms, () => {
      const { session } = this.#kept;
      const read = session.socket?.bytesRead ?? 0;
      const quiet = read === this.#bytesRead;
      this.#bytesRead = read;
      const time = this.#parameters.timeMs || DEFAULT_TIME_MS;
      if (!quiet) {
        this.#watchPeer(time);
        return;
      }
      if (session.destroyed) return;
      const timeout = this.#after(this.#parameters.timeoutMs || DEFAULT_TIMEOUT_MS, () =>
        this.#kept.destroy("keepalive ping not answered"),
      );
      session.ping((error) => {
        timeout.cancel();
        this.#timers.delete(timeout);
        if (!error) this.#watchPeer(time);
      });
    });
  }
}
