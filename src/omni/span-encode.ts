/** Log-derived spans as OTLP bytes. Field numbers: opentelemetry/proto/trace/v1/trace.proto. */
import type { WireWriter } from "../pdata/wire-writer.ts";
import type { DerivedSpan } from "./derive.ts";
import { type AttributeValue, writeAttribute } from "./span-patch.ts";

/** The instrumentation scope of everything log-derived. */
export const SCOPE = "omnishim";

const KIND = { internal: 1, server: 2, client: 3 } as const;
/** Flags: sampled; bit 8 says that bit 9 tells whether the parent is remote. */
const FLAGS_LOCAL = 0x100;
const FLAGS_REMOTE = 0x300;
const STATUS_ERROR = 2;
/** About as many bytes as a request's spans and its root have: their lengths take two bytes. */
const RESOURCE_SPANS_BYTES = 2000;
const ROOT_BYTES = 500;

/** Appends one ResourceSpans with these spans to an ExportTraceServiceRequest. */
export function writeResourceSpans(
  out: WireWriter,
  resource: readonly (readonly [key: string, value: AttributeValue])[],
  scopeVersion: string,
  spans: readonly DerivedSpan[],
): void {
  const all = out.open(1, RESOURCE_SPANS_BYTES);
  const about = out.open(1);
  for (const [key, value] of resource) writeAttribute(out, 1, key, value);
  out.close(about);
  const scoped = out.open(2, RESOURCE_SPANS_BYTES);
  const scope = out.open(1);
  out.string(1, SCOPE).string(2, scopeVersion).close(scope);
  for (const span of spans) writeSpan(out, span);
  out.close(scoped, RESOURCE_SPANS_BYTES).close(all, RESOURCE_SPANS_BYTES);
}

function writeSpan(out: WireWriter, span: DerivedSpan): void {
  const about = span.attributes.length > 1 ? ROOT_BYTES : 0;
  const mark = out.open(2, about);
  out.hex(1, span.traceId);
  out.hex(2, span.spanId);
  if (span.parentSpanId !== "") out.hex(4, span.parentSpanId);
  out.string(5, span.name);
  out.uint(6, KIND[span.kind]);
  out.nanosOfMicros(7, Math.round(span.startUs));
  out.nanosOfMicros(8, Math.round(span.endUs));
  for (const [key, value] of span.attributes) writeAttribute(out, 9, key, value);
  const { error } = span;
  if (error !== undefined) {
    const status = out.open(15);
    if (error !== "") out.string(2, error);
    out.uint(3, STATUS_ERROR).close(status);
  }
  out.fixed32(16, span.parentIsRemote ? FLAGS_REMOTE : FLAGS_LOCAL);
  out.close(mark, about);
}
