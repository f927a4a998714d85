/** What this process uses, and how to make it use less. */
import { totalmem } from "node:os";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** A look at the process, bytes. */
export interface MemoryUse {
  /** What is in use, garbage that was not collected yet included (docs/adr/034). */
  readonly used: number;
  /** Of this, V8's own heap. */
  readonly heap: number;
}

/** The process's memory, as a dependency. */
export interface Memory {
  /** What the process may use: its container's limit, or the machine's memory. Bytes. */
  readonly total: number;
  /** What V8's heap can be at most, bytes: beyond it the process ends. */
  readonly heapLimit: number;
  read(): MemoryUse;
  /** Collects garbage now, which takes a moment. The memory of buffers that nobody uses is given back a little later. */
  collect(): void;
}

/** This process. */
export function processMemory(): Memory {
  const { rss, heapTotal, arrayBuffers } = process.memoryUsage();
  const program = Math.max(0, rss - heapTotal - arrayBuffers);
  let collect: (() => void) | undefined;
  return {
    total: totalMemory(process.constrainedMemory(), totalmem()),
    heapLimit: getHeapStatistics().heap_size_limit,
    read: () => {
      const now = process.memoryUsage();
      return { used: Math.min(now.rss, program + now.heapTotal + now.arrayBuffers), heap: now.heapUsed };
    },
    collect: () => {
      collect ??= garbageCollector();
      collect();
    },
  };
}

/** @param constrained of `process.constrainedMemory()`: 0 or a number beyond the machine's when there is no constraint */
export function totalMemory(constrained: number | undefined, machine: number): number {
  return constrained === undefined || constrained <= 0 ? machine : Math.min(constrained, machine);
}

/** V8's `gc`, which is there when the flag is set, and which only a new context gets when it is set late. */
function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
