import type { CallContext, Component, Consumer, Payload, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Signal } from "../../pdata/payload.ts";
import type { Limiter } from "./limiter.ts";
import { LimiterTelemetry } from "./telemetry.ts";

/** google.rpc.Code UNAVAILABLE */
const UNAVAILABLE = 14;
/** When to come again: a sender that has ten seconds for an export must have some tries. */
const LONGEST_HINT_MS = 3000;
const SHORTEST_HINT_MS = 100;

/** Lets data through, or refuses it while its limiter says so: retryable, so nothing is lost by it. */
export class MemoryLimiterProcessor<S extends Signal> implements Component, Consumer<S> {
  readonly #limiter: Limiter;
  readonly #next: Consumer<S>;
  readonly #telemetry: LimiterTelemetry;
  readonly #hintMs: number;
  #mode: "new" | "started" | "stopped" = "new";

  /** @param checkIntervalMs before it is over nothing changes, so nobody need come again */
  constructor(limiter: Limiter, settings: Settings, signal: S, checkIntervalMs: number, next: Consumer<S>) {
    this.#limiter = limiter;
    this.#next = next;
    this.#telemetry = new LimiterTelemetry(settings, signal);
    this.#hintMs = Math.min(LONGEST_HINT_MS, Math.max(SHORTEST_HINT_MS, checkIntervalMs));
  }

  get mutatesData(): boolean {
    return this.#next.mutatesData;
  }

  async start(): Promise<void> {
    if (this.#mode !== "new") return;
    this.#mode = "started";
    this.#limiter.acquire();
  }

  async consume(batch: Payload[S], call: CallContext): Promise<void> {
    if (!this.#limiter.admits(batch.bytes.length)) {
      this.#telemetry.refused(batch.items);
      throw new ConsumeError("retryable", "data refused due to high memory usage", {
        retryAfterMs: this.#hintMs,
        grpcCode: UNAVAILABLE,
      });
    }
    this.#telemetry.accepted(batch.items);
    await this.#next.consume(batch, call);
  }

  async shutdown(): Promise<void> {
    if (this.#mode === "started") this.#limiter.release();
    this.#mode = "stopped";
  }
}
