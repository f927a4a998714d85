/** The clocks of the vLLM instances, as far as their spans tell. */
import { type ClockEstimate, type HostClocks, InstanceClock, offsetBetween } from "./clock.ts";
import type { SpanFacts } from "./span-scan.ts";

/** Instances that are kept; the one that was new longest ago is forgotten first. */
const MOST_INSTANCES = 1000;

interface Skew {
  readonly attributes: readonly (readonly [string, string | number])[];
  readonly shiftNanos: bigint | undefined;
}

const NO_SKEW: Skew = { attributes: [], shiftNanos: undefined };

export class Instances {
  readonly #clocks = new Map<string, InstanceClock>();
  readonly #mode: "annotate" | "correct" | "off";
  readonly #hosts: HostClocks;

  /** `hosts`: what was measured elsewhere. */
  constructor(mode: "annotate" | "correct" | "off", hosts: HostClocks) {
    this.#mode = mode;
    this.#hosts = hosts;
  }

  /** What is certain of the instance's offset to the proxy's clock, microseconds; 0 when nothing is. */
  shiftUs(facts: SpanFacts): number {
    return this.#clocks.size === 0 ? 0 : (this.#clocks.get(facts.resource.instance)?.certainUs() ?? 0);
  }

  /**
   * Takes a joined span and the proxy's interval around it; `route` says where the proxy is and where it sent the request
   * to. @returns the instance's name and offset as now known
   */
  watch(
    facts: SpanFacts,
    interval: { from: number; to: number },
    route: { readonly proxy: string; readonly upstream: string },
  ): { name: string; estimate: ClockEstimate } | undefined {
    const name = facts.resource.instance;
    if (name === "") return undefined;
    const prior = this.#hosts.size > 0 ? offsetBetween(this.#hosts, hostOf(route.upstream), route.proxy) : undefined;
    const bounded = interval.to !== Number.POSITIVE_INFINITY;
    if (!bounded && !prior) return undefined;
    let clock = this.#clocks.get(name);
    if (!clock) {
      clock = new InstanceClock();
      this.#clocks.set(name, clock);
      if (this.#clocks.size > MOST_INSTANCES) this.#clocks.delete(this.#clocks.keys().next().value as string);
    }
    if (bounded) clock.add(facts.startUs, facts.endUs, interval.from, interval.to);
    if (prior) clock.expect(prior);
    const estimate = clock.estimate();
    return estimate && { name, estimate };
  }

  /** What a span is told of its clock: attributes, and the shift that corrects it where the configuration wants that. */
  skew(facts: SpanFacts): Skew {
    const clock = this.#mode === "off" || !facts.fromVllm ? undefined : this.#clocks.get(facts.resource.instance);
    const certainUs = clock?.certainUs() ?? 0;
    if (certainUs === 0) return NO_SKEW;
    const attributes: [string, string | number][] = [
      ["omni.clock.offset_ms", certainUs / 1000],
      ["omni.clock.offset_uncertainty_ms", (clock?.estimate()?.uncertaintyUs ?? 0) / 1000],
    ];
    if (this.#mode === "annotate") return { attributes, shiftNanos: undefined };
    attributes.push(
      ["omni.clock.original_start_time_unix_nano", facts.startNanos.toString()],
      ["omni.clock.original_end_time_unix_nano", facts.endNanos.toString()],
    );
    return { attributes, shiftNanos: -BigInt(Math.round(certainUs)) * 1000n };
  }
}

/** "10.0.0.2:8100" -> "10.0.0.2", "[fd00::2]:8100" -> "fd00::2". */
function hostOf(address: string): string {
  const found = /^(?:\[(.+)\]|([^:]*))(?::\d+)?$/.exec(address);
  return found?.[1] ?? found?.[2] ?? address;
}
