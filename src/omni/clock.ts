/**
 * From the proxy's clock to unix time. All its stamps but a few are seconds since boot (CLOCK_MONOTONIC), so one offset
 * a boot turns them into unix time. Every pair of a wall-clock stamp and the boot-clock stamp written right behind it
 * is a lower bound of that offset (the wall stamp was taken a little earlier), so the offset is their maximum.
 */

/** A stamp of 1e8 s or more is unix time already (design: merge.md, Clocks). */
const UNIX_FROM_US = 1e14;
/** A step back of the wall clock is believed when the recent maximum lies this far below the estimate. */
const STEP_BACK_US = 10_000;
const RECENT_PAIRS = 64;
const RECENT_US = 60e6;
/** A pair this far from what is known means that the wall clock was set; no process stands still so long between two stamps. */
const STEP_US = 10e6;
/** With fewer pairs in RECENT_US a step back is not believed. */
const FEWEST_PAIRS = 3;
/** One pair is within 0.4 ms as a rule, a few dozen are within 15 us (measured on captures). */
const PAIR_UNCERTAINTY_US = 400;
const LEAST_PAIR_UNCERTAINTY_US = 15;
/** Access-log rows are rounded to milliseconds: 0.02 to 0.5 ms low. */
const ROW_UNCERTAINTY_US = 1000;
const LEAST_ROW_UNCERTAINTY_US = 100;

/** `Start to schedule` and `Inject start_time` against `Time received`; or an access-log row. */
export type PairKind = "line" | "row";

export interface ClockEstimate {
  /** Unix microseconds = boot microseconds + offsetUs. A whole number. */
  readonly offsetUs: number;
  /** The offset is right within plus or minus this. */
  readonly uncertaintyUs: number;
}

/** The clock of one boot of one log source. */
export class BootClock {
  /** The newest stamp (as logged) that was read with this clock: how far the log is known. */
  newestUs = 0;
  #max = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #rows = 0;
  readonly #recent: { offset: number; at: number }[] = [];
  // From 1-second prefixes: the offset lies in [low, high].
  #low = Number.NEGATIVE_INFINITY;
  #high = Number.POSITIVE_INFINITY;

  /** A wall-clock stamp (unix us) taken just before a boot-clock stamp (us). */
  addPair(wallUs: number, bootUs: number, kind: PairKind): void {
    const offset = wallUs - bootUs;
    // The row's end and its length are of two times: the wall clock was set in between.
    if (kind === "row" && this.isStep(wallUs, bootUs)) return;
    if (kind === "line") this.#lines++;
    else this.#rows++;
    this.#recent.push({ offset, at: bootUs });
    if (this.#recent.length > RECENT_PAIRS) this.#recent.shift();
    if (offset > this.#max) {
      this.#max = offset;
      return;
    }
    const first = this.#recent[0] as { offset: number; at: number };
    const enough =
      this.#recent.length === RECENT_PAIRS || (bootUs - first.at >= RECENT_US && this.#recent.length >= FEWEST_PAIRS);
    if (!enough) return;
    if (bootUs - first.at >= RECENT_US && this.#recent.length < RECENT_PAIRS)
      while (bootUs - (this.#recent[0] as { at: number }).at > 2 * RECENT_US) this.#recent.shift();
    const recentMax = this.#recent.reduce((max, pair) => Math.max(max, pair.offset), Number.NEGATIVE_INFINITY);
    if (recentMax < this.#max - STEP_BACK_US) this.#max = recentMax;
  }

  /** Whether the wall clock was set since the pairs before this one: it tells of another time. */
  isStep(wallUs: number, bootUs: number): boolean {
    return this.#lines > 0 && Math.abs(wallUs - bootUs - this.#max) > STEP_US;
  }

  /** A line's prefix second (unix seconds) and the stamp in it: the offset lies within one second. */
  addPrefix(unixSecond: number, bootUs: number): void {
    const low = unixSecond * 1e6 - bootUs;
    const high = low + 1e6;
    if (low > this.#high || high < this.#low) {
      // The wall clock was stepped: what was known before no longer holds.
      this.#low = low;
      this.#high = high;
      return;
    }
    this.#low = Math.max(this.#low, low);
    this.#high = Math.min(this.#high, high);
  }

  /** True when a line that was written in this second with this stamp fits the clock (within 2 s); true when nothing is known. */
  fits(unixSecond: number, bootUs: number): boolean {
    const known = this.estimate();
    return known === undefined || Math.abs(unixSecond * 1e6 - bootUs - known.offsetUs) < 2e6;
  }

  /** The offset alone, microseconds; 0 before any evidence. */
  get offsetUs(): number {
    if (this.#lines > 0 || this.#rows > 0) return this.#max;
    return this.#low === Number.NEGATIVE_INFINITY ? 0 : Math.round((this.#low + this.#high) / 2);
  }

  /** The offset as well as it is known now; undefined before any evidence. */
  estimate(): ClockEstimate | undefined {
    if (this.#lines > 0)
      return {
        offsetUs: this.#max,
        uncertaintyUs: Math.max(LEAST_PAIR_UNCERTAINTY_US, Math.round(PAIR_UNCERTAINTY_US / this.#lines)),
      };
    if (this.#rows > 0)
      return {
        offsetUs: this.#max,
        uncertaintyUs: Math.max(LEAST_ROW_UNCERTAINTY_US, Math.round(ROW_UNCERTAINTY_US / this.#rows)),
      };
    if (this.#low === Number.NEGATIVE_INFINITY) return undefined;
    return {
      offsetUs: Math.round((this.#low + this.#high) / 2),
      uncertaintyUs: Math.ceil((this.#high - this.#low) / 2),
    };
  }
}

/** True for a stamp that is unix time as logged. */
export function isUnix(stampUs: number): boolean {
  return stampUs >= UNIX_FROM_US;
}

/** How far each host's clock is ahead of true time, by host; measured elsewhere, such as by chrony. */
export type HostClocks = ReadonlyMap<string, ClockEstimate>;

/** How far the clock of `host` is ahead of that of `reference`; undefined when either is not known. */
export function offsetBetween(clocks: HostClocks, host: string, reference: string): ClockEstimate | undefined {
  if (host === reference) return undefined;
  const known = clocks.get(host);
  const other = clocks.get(reference);
  return (
    known &&
    other && {
      offsetUs: known.offsetUs - other.offsetUs,
      uncertaintyUs: known.uncertaintyUs + other.uncertaintyUs,
    }
  );
}

/**
 * How far a vLLM host's clock is ahead of the proxy's: prefill and decode spans lie inside their running interval, so
 * each joined span bounds it from both sides. A window of spans, so that drift is followed. What was measured elsewhere
 * narrows that where both agree, gives way where they do not, and serves alone where there are no bounds.
 */
export class InstanceClock {
  readonly #low: number[] = [];
  readonly #high: number[] = [];
  #next = 0;
  #prior: ClockEstimate | undefined;
  #known: ClockEstimate | undefined;

  /** What was measured elsewhere. */
  expect(prior: ClockEstimate): void {
    this.#prior = prior;
    this.#known = this.#judge();
  }

  /** A span of the instance, and the proxy's interval around it; all unix microseconds. */
  add(spanStart: number, spanEnd: number, from: number, to: number): void {
    this.#low[this.#next] = spanEnd - to;
    this.#high[this.#next] = spanStart - from;
    this.#next = (this.#next + 1) % RECENT_PAIRS;
    this.#known = this.#judge();
  }

  /** The offset in microseconds (instance minus proxy) and how well it is known; undefined where nothing tells, or bounds contradict each other. */
  estimate(): ClockEstimate | undefined {
    return this.#known;
  }

  #judge(): ClockEstimate | undefined {
    let low = Number.NEGATIVE_INFINITY;
    let high = Number.POSITIVE_INFINITY;
    for (const bound of this.#low) if (bound > low) low = bound;
    for (const bound of this.#high) if (bound < high) high = bound;
    const prior = this.#prior;
    if (this.#low.length === 0 || low > high) return prior;
    if (prior) {
      const narrowLow = Math.max(low, prior.offsetUs - prior.uncertaintyUs);
      const narrowHigh = Math.min(high, prior.offsetUs + prior.uncertaintyUs);
      if (narrowLow <= narrowHigh) [low, high] = [narrowLow, narrowHigh];
    }
    return { offsetUs: Math.round((low + high) / 2), uncertaintyUs: Math.ceil((high - low) / 2) };
  }

  /** The part of the offset that is certain: 0 while "in step with the proxy" fits every pair. */
  certainUs(): number {
    const known = this.estimate();
    if (known === undefined || Math.abs(known.offsetUs) <= known.uncertaintyUs) return 0;
    return known.offsetUs;
  }
}
