/** The spans of each request of a trace: what hangs below its root, and on which path of names. */
import { ROOT_SPAN } from "../omni/actions.ts";
import { attribute, type KeyValue, type ResourceSpans, type SpanData } from "../pdata/model.ts";

/** Names from a root down to a span: what spans of different requests are compared by. One object a path. */
export class SpanPath {
  readonly parent: SpanPath | undefined;
  readonly name: string;
  readonly #below = new Map<string, SpanPath>();

  /** Without a parent: the path of roots, from which `to` leads to the others. */
  constructor(name: string, parent?: SpanPath) {
    this.name = name;
    this.parent = parent;
  }

  /** The path one name further. */
  to(name: string): SpanPath {
    let path = this.#below.get(name);
    if (!path) {
      path = new SpanPath(name, this);
      this.#below.set(name, path);
    }
    return path;
  }

  /** The names, "/" between them. */
  toString(): string {
    return this.parent ? `${this.parent}/${this.name}` : this.name;
  }
}

export interface PlacedSpan {
  readonly span: SpanData;
  /** Attributes of its resource. */
  readonly resource: readonly KeyValue[];
  readonly path: SpanPath;
}

export interface RequestTree {
  readonly root: SpanData;
  /** The root first; parents before their children. */
  readonly spans: readonly PlacedSpan[];
}

/** The requests of a trace by their roots, in order; spans under none are in none. `top` is the path of all roots. */
export function requestTrees(resourceSpans: readonly ResourceSpans[], top: SpanPath): RequestTree[] {
  const roots: { span: SpanData; resource: readonly KeyValue[] }[] = [];
  const children = new Map<string, { span: SpanData; resource: readonly KeyValue[] }[]>();
  for (const { resource, scopeSpans } of resourceSpans) {
    for (const { spans } of scopeSpans) {
      for (const span of spans) {
        const found = { span, resource: resource.attributes };
        if (span.name === ROOT_SPAN) roots.push(found);
        else if (span.parentSpanId !== "") {
          const siblings = children.get(span.parentSpanId);
          if (siblings) siblings.push(found);
          else children.set(span.parentSpanId, [found]);
        }
      }
    }
  }
  return roots.map(({ span: root, resource }) => {
    const spans: PlacedSpan[] = [{ span: root, resource, path: top }];
    for (let at = 0; at < spans.length && children.size > 0; at++) {
      const { span, path } = spans[at] as PlacedSpan;
      const below = children.get(span.spanId);
      if (!below) continue;
      children.delete(span.spanId); // an id that occurs twice has its children once
      for (const child of below)
        spans.push({ span: child.span, resource: child.resource, path: path.to(child.span.name) });
    }
    return { root, spans };
  });
}

/** service.name of a resource's attributes; "" where there is none. */
export function serviceOf(attributes: readonly KeyValue[]): string {
  const value = attribute(attributes, "service.name");
  return typeof value === "string" ? value : "";
}
