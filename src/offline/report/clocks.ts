/** The clocks: how well the proxy's is known, and how far those of vLLM's instances are off. */
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../../omni/actions.ts";
import { InstanceClock } from "../../omni/clock.ts";
import { attribute, type SpanData } from "../../pdata/model.ts";
import type { RequestTree } from "../request-tree.ts";
import { isVllmSpan, textAttribute } from "../stats/request-facts.ts";

/** Milliseconds. */
export interface ClockRow {
  readonly instance: string;
  /** Its service.name; "" where it has none. */
  readonly service: string;
  readonly spans: number;
  /** The instance's clock less the proxy's; undefined when what the spans say contradicts itself: the clock was set. */
  readonly offsetMs: number | undefined;
  /** The true offset lies within plus or minus this. */
  readonly uncertaintyMs: number | undefined;
  /** Whether the instance is certainly off. */
  readonly certain: boolean;
}

export interface ClockData {
  /** The worst that any request knows of the proxy's clock against unix time, milliseconds; undefined where none says. */
  readonly proxyUncertaintyMs: number | undefined;
  /** The farthest off first. */
  readonly instances: readonly ClockRow[];
}

const MOST_INSTANCES = 200;

interface Instance {
  readonly clock: InstanceClock;
  readonly service: string;
  spans: number;
}

export class Clocks {
  readonly #instances = new Map<string, Instance>();
  #proxyUncertaintyMs: number | undefined;

  add({ root, spans }: RequestTree): void {
    const uncertainty = attribute(root.attributes, "omni.clock.uncertainty_ms");
    if (typeof uncertainty === "number" && !(uncertainty < (this.#proxyUncertaintyMs ?? Number.NEGATIVE_INFINITY)))
      this.#proxyUncertaintyMs = uncertainty;
    // Without an end nothing bounds the span from above.
    if (attribute(root.attributes, "omni.incomplete") === true) return;
    const states = new Map<string, SpanData>();
    for (const { span } of spans)
      if (span.name === P_RUNNING_SPAN || span.name === D_RUNNING_SPAN) states.set(span.spanId, span);
    for (const { span, resource } of spans) {
      const state = states.get(span.parentSpanId);
      if (!state || !isVllmSpan(span)) continue;
      const service = textAttribute(resource, "service.name");
      const name = textAttribute(resource, "service.instance.id") || service;
      const instance = name === "" ? undefined : this.#instance(name, service);
      if (!instance) continue;
      instance.spans++;
      const original = (edge: "start" | "end") => {
        const kept = textAttribute(span.attributes, `omni.clock.original_${edge}_time_unix_nano`);
        return /^\d{1,20}$/.test(kept) ? BigInt(kept) : edge === "start" ? span.startUnixNano : span.endUnixNano;
      };
      instance.clock.add(
        micros(original("start")),
        micros(original("end")),
        micros(state.startUnixNano),
        micros(state.endUnixNano),
      );
    }
  }

  data(): ClockData {
    const instances = [...this.#instances].map(([instance, { clock, service, spans }]): ClockRow => {
      const estimate = clock.estimate();
      return {
        instance,
        service,
        spans,
        offsetMs: estimate && estimate.offsetUs / 1000,
        uncertaintyMs: estimate && estimate.uncertaintyUs / 1000,
        certain: clock.certainUs() !== 0,
      };
    });
    const far = ({ offsetMs }: ClockRow) => (offsetMs === undefined ? Number.POSITIVE_INFINITY : Math.abs(offsetMs));
    instances.sort((a, b) => far(b) - far(a) || (a.instance < b.instance ? -1 : 1));
    return { proxyUncertaintyMs: this.#proxyUncertaintyMs, instances };
  }

  #instance(name: string, service: string): Instance | undefined {
    let instance = this.#instances.get(name);
    if (!instance && this.#instances.size < MOST_INSTANCES) {
      instance = { clock: new InstanceClock(), service, spans: 0 };
      this.#instances.set(name, instance);
    }
    return instance;
  }
}

function micros(ns: bigint): number {
  return Number(ns) / 1000;
}
