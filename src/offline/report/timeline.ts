/** Requests over time, in so many bins that they fit a picture whatever the time: bins double in width as the time grows. */
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../../omni/actions.ts";
import type { RequestTree } from "../request-tree.ts";

/** What of a request's time is told apart. Every state is in one of them; what no state covers is "rest". */
export const PHASES = ["proxy", "prefill queue", "P running", "decode queue", "D running", "rest"] as const;

const PHASE_OF: ReadonlyMap<string, number> = new Map([
  ["Proxy received request", 0],
  ["Process request", 0],
  ["Tokenizer", 0],
  ["APC matching", 0],
  ["P waiting", 1],
  ["P scheduled", 1],
  [P_RUNNING_SPAN, 2],
  ["D waiting", 3],
  ["D scheduled", 3],
  [D_RUNNING_SPAN, 4],
]);
const REST = 5;

/** Bins at most. */
export const MOST_BINS = 120;
const LEAST_WIDTH_MS = 1000;

/** Requests that start in one bin. */
export interface TimelineBin {
  /** Unix milliseconds. */
  readonly startMs: number;
  readonly requests: number;
  /** Of these, with another outcome than ok. */
  readonly failed: number;
  /** Milliseconds a request for each of PHASES, the mean; zeros when there is no request. */
  readonly phases: readonly number[];
}

export interface TimelineData {
  readonly widthMs: number;
  /** One after the other, empty ones included. */
  readonly bins: readonly TimelineBin[];
}

interface Bin {
  requests: number;
  failed: number;
  readonly sums: Float64Array;
}

/** Milliseconds that a request spent in each of PHASES. */
export function phasesOf({ root, spans }: RequestTree): number[] {
  const out = PHASES.map(() => 0);
  let known = 0;
  for (const { span, path } of spans) {
    const phase = path.parent?.parent === undefined ? PHASE_OF.get(span.name) : undefined;
    if (phase === undefined) continue;
    const ms = lengthMs(span);
    out[phase] = (out[phase] as number) + ms;
    known += ms;
  }
  out[REST] = Math.max(0, lengthMs(root) - known);
  return out;
}

function lengthMs(span: { readonly startUnixNano: bigint; readonly endUnixNano: bigint }): number {
  return Math.max(0, Number(span.endUnixNano - span.startUnixNano)) / 1e6;
}

export class Timeline {
  #widthMs = LEAST_WIDTH_MS;
  #bins = new Map<number, Bin>();
  #first = Number.POSITIVE_INFINITY;
  #last = Number.NEGATIVE_INFINITY;

  /** `phases` as `phasesOf` gives them. */
  add(startMs: number, phases: readonly number[], failed: boolean): void {
    const bin = this.#bin(startMs);
    bin.requests++;
    if (failed) bin.failed++;
    for (const [index, ms] of phases.entries()) bin.sums[index] = (bin.sums[index] as number) + ms;
  }

  data(): TimelineData {
    const bins: TimelineBin[] = [];
    for (let index = this.#first; index <= this.#last; index++) {
      const { requests, failed, sums } = this.#bins.get(index) ?? emptyBin();
      bins.push({
        startMs: index * this.#widthMs,
        requests,
        failed,
        phases: [...sums].map((sum) => (requests === 0 ? 0 : sum / requests)),
      });
    }
    return { widthMs: this.#widthMs, bins };
  }

  #bin(startMs: number): Bin {
    for (;;) {
      const index = Math.floor(startMs / this.#widthMs);
      const first = Math.min(this.#first, index);
      const last = Math.max(this.#last, index);
      if (last - first >= MOST_BINS) {
        this.#double();
        continue;
      }
      this.#first = first;
      this.#last = last;
      let bin = this.#bins.get(index);
      if (!bin) {
        bin = emptyBin();
        this.#bins.set(index, bin);
      }
      return bin;
    }
  }

  #double(): void {
    this.#widthMs *= 2;
    const wider = new Map<number, Bin>();
    for (const [index, bin] of this.#bins) {
      const held = wider.get(Math.floor(index / 2));
      if (!held) {
        wider.set(Math.floor(index / 2), bin);
        continue;
      }
      held.requests += bin.requests;
      held.failed += bin.failed;
      for (const [phase, sum] of bin.sums.entries()) held.sums[phase] = (held.sums[phase] as number) + sum;
    }
    this.#bins = wider;
    this.#first = Math.floor(this.#first / 2);
    this.#last = Math.floor(this.#last / 2);
  }
}

function emptyBin(): Bin {
  return { requests: 0, failed: 0, sums: new Float64Array(PHASES.length) };
}
