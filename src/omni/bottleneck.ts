/** Which phase made a request slow: the one that lies furthest above what it usually takes. */
import type { Phase } from "./derive.ts";

/** How many of the newest requests a phase's median is taken from. */
const WINDOW = 255;
/** With fewer, nothing is usual yet. */
const FEWEST = 20;

/** The median of the newest WINDOW values: a ring for their age, a sorted list for their rank. */
class RunningMedian {
  readonly #ring: number[] = [];
  readonly #sorted: number[] = [];
  #next = 0;

  add(value: number): void {
    if (this.#ring.length === WINDOW) {
      this.#sorted.splice(rank(this.#sorted, this.#ring[this.#next] as number), 1);
      this.#ring[this.#next] = value;
      this.#next = (this.#next + 1) % WINDOW;
    } else this.#ring.push(value);
    this.#sorted.splice(rank(this.#sorted, value), 0, value);
  }

  get count(): number {
    return this.#ring.length;
  }

  median(): number {
    return this.#sorted[this.#sorted.length >> 1] as number;
  }
}

/** The first place in `sorted` whose value is at least `value`. */
function rank(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Keeps the usual length of every phase. */
export class Bottlenecks {
  readonly #usual = new Map<string, RunningMedian>();

  /**
   * Takes a request's phases in, and says which of them was furthest above its running median, by how many seconds.
   * Undefined while too few requests are known, or when no phase was longer than usual.
   */
  observe(phases: readonly Phase[]): { name: string; excessSeconds: number } | undefined {
    let worst: { name: string; excessSeconds: number } | undefined;
    for (const { name, us } of phases) {
      let usual = this.#usual.get(name);
      if (!usual) {
        usual = new RunningMedian();
        this.#usual.set(name, usual);
      }
      if (usual.count >= FEWEST) {
        const excessSeconds = (us - usual.median()) / 1e6;
        if (excessSeconds > (worst?.excessSeconds ?? 0)) worst = { name, excessSeconds };
      }
      usual.add(us);
    }
    return worst;
  }
}
