import { type Clock, sleep } from "../../telemetry/clock.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { Throttle } from "../../telemetry/throttle.ts";
import { type Limits, limitsOf, type MemoryLimiterConfig } from "./config.ts";
import type { Memory, MemoryUse } from "./memory.ts";

const MIB = 1024 * 1024;
/** How long V8 takes to give back the buffers of a collection, about. */
const SWEEP_MS = 100;
/** Of V8's own limit for its heap, which is none of ours: from when on data is refused, and garbage collected. */
const HEAP_SOFT = 0.8;
const HEAP_HARD = 0.9;
/** Between two looks, no more than this part of the spike limit is let in. */
const LOOKS_A_SPIKE = 4;

/** What a limiter needs. */
export interface LimiterParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly memory: Memory;
}

/**
 * Looks at the memory every `check_interval`, and whenever a quarter of the spike limit has come in, and says whether data is to be
 * refused.
 *
 * Modes: *taking* -> above the soft limit: garbage is collected (if that was not done lately) and the next look, a moment
 * later, decides -> *refusing* -> below the soft limit: *taking*. Above the hard limit it refuses at once and collects at every look.
 */
export class Limiter {
  readonly limits: Limits;
  readonly #config: MemoryLimiterConfig;
  readonly #parts: LimiterParts;
  readonly #throttle: Throttle;
  readonly #heap: Limits;
  #users = 0;
  #stop: AbortController | undefined;
  #isRefusing = false;
  #isCollecting = false;
  #collectedMs = Number.NEGATIVE_INFINITY;
  /** Bytes that were let in since the last look. */
  #taken = 0;
  #last: MemoryUse;

  constructor(config: MemoryLimiterConfig, parts: LimiterParts) {
    const { memory, clock } = parts;
    this.#config = config;
    this.#parts = parts;
    this.#throttle = new Throttle(clock);
    this.limits = limitsOf(config, memory.total);
    this.#heap = { soft: memory.heapLimit * HEAP_SOFT, hard: memory.heapLimit * HEAP_HARD };
    this.#last = memory.read();
  }

  /** What the last look saw, bytes. */
  get used(): number {
    return this.#last.used;
  }

  get isRefusing(): boolean {
    return this.#isRefusing;
  }

  /** Begins to look; each call needs its `release`. */
  acquire(): void {
    if (++this.#users > 1) return;
    const { check_interval, limit_mib, limit_percentage } = this.#config;
    const { logger, memory } = this.#parts;
    logger.info("Memory limiter configured", {
      limit_mib: mib(this.limits.hard),
      spike_limit_mib: mib(this.limits.hard - this.limits.soft),
      check_interval_ms: check_interval,
      ...(limit_mib === 0 ? { limit_percentage, total_memory_mib: mib(memory.total) } : {}),
    });
    this.#stop = new AbortController();
    void this.#watch(this.#stop.signal);
    this.look();
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#stop?.abort();
    this.#isRefusing = false;
  }

  /** So much is about to be let in. @returns whether it may */
  admits(bytes: number): boolean {
    if (this.#isRefusing) return false;
    this.#taken += bytes;
    if (this.#taken >= (this.limits.hard - this.limits.soft) / LOOKS_A_SPIKE) this.look();
    return !this.#isRefusing;
  }

  /** Looks now. */
  look(): void {
    this.#taken = 0;
    const use = this.#parts.memory.read();
    this.#last = use;
    const isHard = use.used >= this.limits.hard || use.heap >= this.#heap.hard;
    const isSoft = isHard || use.used >= this.limits.soft || use.heap >= this.#heap.soft;
    if (!isSoft) {
      this.#resume(use);
      return;
    }
    const collects = !this.#isCollecting && this.#isDue(isHard);
    if (collects) this.#collect(use, isHard);
    // What a collection gives back decides, unless there is no room left to wait for it.
    if (isHard || !collects) this.#refuse(use);
  }

  async #watch(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      await sleep(this.#parts.clock, this.#config.check_interval, stopped).catch(() => {});
      if (!stopped.aborted) this.look();
    }
  }

  #isDue(isHard: boolean): boolean {
    const { min_gc_interval_when_hard_limited, min_gc_interval_when_soft_limited } = this.#config;
    const atLeast = isHard ? min_gc_interval_when_hard_limited : min_gc_interval_when_soft_limited;
    return this.#parts.clock.monotonic() - this.#collectedMs >= atLeast;
  }

  #collect(use: MemoryUse, isHard: boolean): void {
    const { clock, memory } = this.#parts;
    if (isHard) this.#say("warn", "Memory usage is above hard limit. Forcing a GC.", use);
    else this.#say("info", "Memory usage is above soft limit. Forcing a GC.", use);
    memory.collect();
    this.#collectedMs = clock.monotonic();
    this.#isCollecting = true;
    clock.after(Math.min(SWEEP_MS, this.#config.check_interval), () => {
      if (!this.#stop?.signal.aborted) {
        this.look();
        this.#say("info", "Memory usage after GC.", this.#last);
      }
      this.#isCollecting = false;
    });
  }

  #refuse(use: MemoryUse): void {
    if (this.#isRefusing) return;
    this.#isRefusing = true;
    this.#say("warn", "Memory usage is above soft limit. Refusing data.", use);
  }

  #resume(use: MemoryUse): void {
    if (!this.#isRefusing) return;
    this.#isRefusing = false;
    this.#say("info", "Memory usage back within limits. Resuming normal operation.", use);
  }

  /** The Collector's words, each at most once a minute: near the limit they would come with every look. */
  #say(level: "info" | "warn", message: string, { used, heap }: MemoryUse): void {
    const passed = this.#throttle.pass(message);
    if (!passed) return;
    this.#parts.logger[level](message, {
      cur_mem_mib: mib(used),
      heap_mib: mib(heap),
      ...(passed.held > 0 ? { times: passed.held + 1 } : {}),
    });
  }
}

function mib(bytes: number): number {
  return Math.floor(bytes / MIB);
}
