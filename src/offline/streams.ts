/** Reads several streams as one, in order of the time that their contents tell, without holding any of them in memory. */

/** A log or a recording. Made ready by `fill`; then `nextMs` tells what comes next. */
export interface TimedStream {
  /** Unix milliseconds of what comes next; valid while something is in memory. */
  readonly nextMs: number;
  /**
   * Hands on what is in memory, in order, up to and including `untilMs`; always at least one item.
   * @returns false when `fill` must be called before there is more
   */
  hand(untilMs: number): boolean;
  /** Reads more. @returns false at the end */
  fill(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * Hands everything on, oldest first. `tick` is called whenever the time of what was handed on has moved by at least
 * `tickMs`, with that time; reading goes on when it resolves. What carries no time, or jumps back, counts as the newest
 * time of its stream.
 */
export async function readInOrder(
  streams: readonly TimedStream[],
  tickMs: number,
  tick: (nowMs: number) => Promise<void> | undefined,
): Promise<void> {
  const queue = new SoonestFirst();
  try {
    for (const stream of streams) if (await stream.fill()) queue.push(stream);
    let lastTickMs = Number.NEGATIVE_INFINITY;
    for (let stream = queue.pop(); stream !== undefined; stream = queue.pop()) {
      const untilMs = Math.min(queue.peek()?.nextMs ?? Number.POSITIVE_INFINITY, lastTickMs + tickMs);
      const nowMs = stream.nextMs;
      const more = stream.hand(Math.max(untilMs, nowMs)) || (await stream.fill());
      if (more) queue.push(stream);
      if (nowMs >= lastTickMs + tickMs) {
        lastTickMs = nowMs;
        await tick(nowMs);
      }
    }
  } finally {
    for (const stream of streams) await stream.close();
  }
}

/** A binary heap by `nextMs`; a stream's time does not change while it is in here. */
class SoonestFirst {
  readonly #heap: TimedStream[] = [];

  peek(): TimedStream | undefined {
    return this.#heap[0];
  }

  push(stream: TimedStream): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(stream);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as TimedStream).nextMs <= stream.nextMs) break;
      heap[at] = heap[parent] as TimedStream;
      at = parent;
    }
    heap[at] = stream;
  }

  pop(): TimedStream | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as TimedStream).nextMs < (heap[child] as TimedStream).nextMs)
        child++;
      if ((heap[child] as TimedStream).nextMs >= last.nextMs) break;
      heap[at] = heap[child] as TimedStream;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
