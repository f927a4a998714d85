import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const PAUSE_MS = 20;
const TIMEOUT_MS = 10_000;

/** A sender that goes on whatever the answers are: a span of its own trace every 20 ms, over OTLP/HTTP as JSON. */
export class Trickle {
  /** Trace ids of the spans that were answered with 200, in the order of the answers. */
  readonly acknowledged: string[] = [];
  readonly #url: string;
  readonly #done: Promise<void>;
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  #isStopped = false;

  constructor(httpPort: number) {
    this.#url = `http://127.0.0.1:${httpPort}/v1/traces`;
    this.#done = this.#run();
  }

  /** Resolves once so many spans are acknowledged. */
  async reach(count: number): Promise<void> {
    if (this.acknowledged.length >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  /** Ends after the span that is on its way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    for (; !this.#isStopped; await sleep(PAUSE_MS)) {
      const traceId = randomBytes(16).toString("hex");
      try {
        const signal = AbortSignal.timeout(TIMEOUT_MS);
        const headers = { "Content-Type": "application/json" };
        const response = await fetch(this.#url, { method: "POST", headers, body: request(traceId), signal });
        await response.arrayBuffer();
        if (!response.ok) continue;
      } catch {
        continue; // Not acknowledged: nobody has promised anything.
      }
      this.acknowledged.push(traceId);
      for (const { resolve } of this.#waiting.filter(({ count }) => this.acknowledged.length >= count)) resolve();
    }
  }
}

function request(traceId: string): string {
  const nano = `${Date.now()}000000`;
  const times = { startTimeUnixNano: nano, endTimeUnixNano: nano };
  const spans = [{ traceId, spanId: traceId.slice(0, 16), name: "trickle", kind: 2, ...times }];
  const resource = { attributes: [{ key: "service.name", value: { stringValue: "trickle" } }] };
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
}
