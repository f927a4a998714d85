/** Traces gathered into requests of a good size, spans of one resource and scope together. */
import type { Resource, ResourceSpans, Scope } from "../../pdata/model.ts";
import type { OfflineTrace } from "../trace.ts";

/** Spans of one request, about. */
const MOST_SPANS = 2048;

export class TraceBatch {
  readonly #groups = new Map<string, ResourceSpans>();
  #spans = 0;

  /** Adds a trace. True when the batch is large enough to go. */
  add(trace: OfflineTrace): boolean {
    for (const { resource, scopeSpans, schemaUrl } of trace.resourceSpans) {
      for (const { scope, spans, schemaUrl: scopeUrl } of scopeSpans) {
        const key = keyOf(resource, scope, schemaUrl, scopeUrl);
        let group = this.#groups.get(key);
        if (!group) {
          group = { resource, scopeSpans: [{ scope, spans: [], schemaUrl: scopeUrl }], schemaUrl };
          this.#groups.set(key, group);
        }
        group.scopeSpans[0]?.spans.push(...spans);
        this.#spans += spans.length;
      }
    }
    return this.#spans >= MOST_SPANS;
  }

  /** What was gathered; the batch is empty then. */
  take(): ResourceSpans[] {
    const taken = [...this.#groups.values()];
    this.#groups.clear();
    this.#spans = 0;
    return taken;
  }
}

function keyOf(resource: Resource, scope: Scope, ...urls: string[]): string {
  return JSON.stringify([resource, scope, urls], (_, value) => (typeof value === "bigint" ? `${value}n` : value));
}
