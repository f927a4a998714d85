/** The files that were behind one path, one after the other, and the loop that hands their lines on in that order. */
import type { Clock } from "../../telemetry/clock.ts";
import type { Delivery } from "./delivery.ts";
import { compressionOf } from "./identity.ts";
import type { OffsetStore } from "./offsets.ts";
import type { RecordEncoder } from "./records.ts";
import type { Slots } from "./slots.ts";
import type { Tail } from "./tail.ts";
import type { Telemetry } from "./telemetry.ts";

/** What all sources of a receiver share. */
export interface Machinery {
  readonly slots: Slots;
  readonly delivery: Delivery;
  readonly offsets: OffsetStore;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  /** From then on nothing is read. */
  readonly stopped: AbortSignal;
}

/** Reads only files that are open; opening, closing and forgetting them is the follower's. */
export class Source {
  readonly path: string;
  /** Oldest first. */
  readonly tails: Tail[] = [];
  readonly #encoder: RecordEncoder;
  readonly #shared: Machinery;
  #running: Promise<void> | undefined;
  #isWanted = false;

  constructor(path: string, encoder: RecordEncoder, shared: Machinery) {
    this.path = path;
    this.#encoder = encoder;
    this.#shared = shared;
  }

  get isBusy(): boolean {
    return this.#running !== undefined;
  }

  /** Has the files that have something read; when a pass over them is under way, another follows it. */
  wake(): void {
    if (!this.tails.some(hasWork)) return;
    this.#isWanted = true;
    this.#running ??= this.#run();
  }

  /** Resolves when all passes that were asked for are done. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#pass();
    }
    this.#running = undefined;
  }

  async #pass(): Promise<void> {
    for (const tail of [...this.tails]) {
      if (!hasWork(tail)) continue;
      try {
        await this.#drain(tail, false);
        this.#shared.telemetry.readable("read", tail.origin);
        if (tail.isEnding && !tail.isReady) {
          await this.#drain(tail, true);
          tail.hasEnded = !tail.isReady;
        }
      } catch (error) {
        if (this.#shared.stopped.aborted) return;
        this.#shared.telemetry.unreadable("read", tail.origin, error);
        // A handle that failed may be stale (a network file system); without a path it is the only one there is.
        if (tail.path !== undefined) await tail.rest().catch(() => {});
      }
    }
  }

  /** Hands on what was seen of one file; resolves early when stopped. */
  async #drain(tail: Tail, isLast: boolean): Promise<void> {
    const { slots, stopped } = this.#shared;
    await tail.known;
    for (let isMore = true; isMore && !stopped.aborted; ) {
      const space = await slots.take(stopped);
      try {
        isMore = await this.#step(tail, space, isLast);
      } finally {
        slots.give(space);
      }
    }
  }

  /** One batch. @returns false when there is nothing more */
  async #step(tail: Tail, space: Buffer, isLast: boolean): Promise<boolean> {
    const { delivery, offsets, telemetry, clock } = this.#shared;
    const reading = await tail.read(space, isLast);
    const compression = tail.offset === 0 ? compressionOf(tail.head) : undefined;
    if (compression !== undefined) {
      tail.isIgnored = true;
      telemetry.info(`the file is compressed (${compression}) and is not read as a log`, { path: tail.origin });
      return false;
    }
    if (reading.kind === "drained") return false;
    if (reading.kind === "restarted") {
      telemetry.truncated(tail.origin, reading.offset);
    } else {
      const { lines } = reading;
      const bytes = this.#encoder.encode({ ...reading, observedUnixMs: clock.now() });
      await delivery.deliver(bytes, lines.count, tail.origin);
      tail.acknowledge(reading);
    }
    await offsets.save(tail.checkpoint);
    return true;
  }
}

function hasWork(tail: Tail): boolean {
  return tail.isOpen && (tail.isReady || (tail.isEnding && !tail.hasEnded));
}
