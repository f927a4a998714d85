/** The spans of each request of a trace: what hangs below its root, with the names on the way there. */
import { ROOT_SPAN } from "../omni/actions.ts";
import { attribute, type KeyValue, type ResourceSpans, type SpanData } from "../pdata/model.ts";

export interface PlacedSpan {
  readonly span: SpanData;
  readonly resource: readonly KeyValue[];
  /** service.name; "" where the resource has none. */
  readonly service: string;
  /** Names from the root down to this span, with "/" between them: what spans of different requests are compared by. */
  readonly path: string;
  /** The path above; "" for the root. */
  readonly parentPath: string;
}

export interface RequestTree {
  readonly root: SpanData;
  /** The root first; parents before their children. */
  readonly spans: readonly PlacedSpan[];
}

interface Found {
  readonly span: SpanData;
  readonly resource: readonly KeyValue[];
  readonly service: string;
}

/** The requests of a trace by their roots, in order; spans under none are in none. Cost: one look at each span. */
export function requestTrees(resourceSpans: readonly ResourceSpans[]): RequestTree[] {
  const children = new Map<string, Found[]>();
  const roots: Found[] = [];
  for (const { resource, scopeSpans } of resourceSpans) {
    const service = serviceOf(resource.attributes);
    for (const { spans } of scopeSpans) {
      for (const span of spans) {
        const found: Found = { span, resource: resource.attributes, service };
        if (span.name === ROOT_SPAN) roots.push(found);
        else if (span.parentSpanId !== "") {
          const siblings = children.get(span.parentSpanId);
          if (siblings) siblings.push(found);
          else children.set(span.parentSpanId, [found]);
        }
      }
    }
  }
  return roots.map((root) => {
    const spans: PlacedSpan[] = [{ ...root, path: root.span.name, parentPath: "" }];
    for (let at = 0; at < spans.length; at++) {
      const { span, path } = spans[at] as PlacedSpan;
      const below = children.get(span.spanId) ?? [];
      children.delete(span.spanId); // an id that occurs twice has its children once
      for (const child of below) spans.push({ ...child, path: `${path}/${child.span.name}`, parentPath: path });
    }
    return { root: root.span, spans };
  });
}

/** service.name of a resource's attributes; "" where there is none. */
export function serviceOf(attributes: readonly KeyValue[]): string {
  const value = attribute(attributes, "service.name");
  return typeof value === "string" ? value : "";
}
