/** What offline tools work on: a trace with all its spans, however it was come by. */
import type { DerivedSpan, Figures } from "../omni/derive.ts";
import type { ProxyRequest } from "../omni/proxy-request.ts";
import { textOf } from "../omni/request-id.ts";
import { SCOPE } from "../omni/span-encode.ts";
import type { ResourceGroup } from "../omni/trace-writer.ts";
import {
  type KeyValue,
  type ResourceSpans,
  type Scope,
  SPAN_KIND,
  type SpanData,
  STATUS_CODE,
} from "../pdata/model.ts";

/** A request whose root is among a trace's spans. */
export interface TracedRequest {
  /** The X-Request-Id as text. */
  readonly id: string;
  readonly rootSpanId: string;
  /** Unix microseconds. */
  readonly startUs: number;
  readonly figures: Figures;
  /** False where the client's traceparent says not sampled: vLLM sends nothing then. */
  readonly sampled: boolean;
}

/** What a trace keeps of a finished request. */
export function tracedOf(request: ProxyRequest, figures: Figures): TracedRequest {
  return {
    id: textOf(request.fullId ?? request.id ?? ""),
    rootSpanId: request.identity?.rootSpanId ?? "",
    startUs: request.startUs() ?? 0,
    figures,
    sampled: request.traceparent?.sampled !== false,
  };
}

/** One trace: every span that was found of it. */
export interface OfflineTrace {
  readonly traceId: string;
  readonly resourceSpans: readonly ResourceSpans[];
  /** Requests of the log whose trace this is; several where one client trace has several. Empty where no log told of any. */
  readonly requests: readonly TracedRequest[];
}

const NOTHING: never[] = [];
const KIND = { internal: SPAN_KIND.INTERNAL, server: SPAN_KIND.SERVER, client: SPAN_KIND.CLIENT } as const;
const UNSET = { code: STATUS_CODE.UNSET, message: "" };
/** Flags of trace.proto, as span-encode.ts writes them. */
const FLAGS_LOCAL = 0x100;
const FLAGS_REMOTE = 0x300;

/** Spans as the log makes them, as OTLP's model has them. The lists of what log-derived spans never have are shared: leave them as they are. */
export function modelOf(group: ResourceGroup, version: string): ResourceSpans {
  return {
    resource: { attributes: pairs(group.resource), droppedAttributesCount: 0 },
    scopeSpans: [{ scope: scopeOf(version), spans: group.spans.map(spanOf), schemaUrl: "" }],
    schemaUrl: "",
  };
}

const scopes = new Map<string, Scope>();

function scopeOf(version: string): Scope {
  let scope = scopes.get(version);
  if (!scope) {
    scope = { name: SCOPE, version, attributes: [], droppedAttributesCount: 0 };
    scopes.set(version, scope);
  }
  return scope;
}

function spanOf(span: DerivedSpan): SpanData {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    traceState: "",
    flags: span.parentIsRemote ? FLAGS_REMOTE : FLAGS_LOCAL,
    name: span.name,
    kind: KIND[span.kind],
    startUnixNano: BigInt(Math.round(span.startUs)) * 1000n,
    endUnixNano: BigInt(Math.round(span.endUs)) * 1000n,
    attributes: pairs(span.attributes),
    droppedAttributesCount: 0,
    events: NOTHING,
    droppedEventsCount: 0,
    links: NOTHING,
    droppedLinksCount: 0,
    status: span.error === undefined ? UNSET : { code: STATUS_CODE.ERROR, message: span.error },
  };
}

function pairs(attributes: DerivedSpan["attributes"]): KeyValue[] {
  return attributes.length === 0 ? NOTHING : attributes.map(([key, value]) => ({ key, value }));
}
