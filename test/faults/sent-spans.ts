/** The spans that the senders of a fault test send. Their span ids are their numbers, from 1. */
import { WireWriter } from "../../src/pdata/wire.ts";
import { WALL } from "../kit/made-up.ts";
import type { LoggedRequest } from "./proxy-log.ts";

const TEXT = "a span's attribute of about the length that they have, ".repeat(3);
/** In an attribute of spans that a backend in these tests refuses for good. */
export const POISON = "this span is refused for good";
/** ExportTraceServiceRequest.resource_spans=1, ResourceSpans.scope_spans=2, ScopeSpans.spans=2. */
const [RESOURCE_SPANS, RESOURCE, SCOPE_SPANS, SPANS] = [1, 1, 2, 2] as const;

/** A span and the service that sends it. */
export interface SentSpan {
  readonly number: number;
  readonly service: string;
  readonly bytes: Uint8Array;
}

function idOf(number: number): Buffer {
  const id = Buffer.alloc(8);
  id.writeBigUInt64BE(BigInt(number));
  return id;
}

function text(span: WireWriter, key: string, value: string): void {
  span.message(9, (pair) => pair.string(1, key).message(2, (any) => any.string(1, value)));
}

function count(span: WireWriter, key: string, value: number): void {
  span.message(9, (pair) => pair.string(1, key).message(2, (any) => any.uint(3, value)));
}

/** A span of no request: it must arrive with the same bytes. */
export function plainSpan(number: number, traceId: Buffer, isPoison = false): SentSpan {
  const span = new WireWriter()
    .bytes(1, traceId)
    .bytes(2, idOf(number))
    .string(5, "load")
    .fixed64(7, 1_795_000_000_000_000_000n)
    .fixed64(8, 1_795_000_000_100_000_000n);
  text(span, "text", isPoison ? POISON : TEXT);
  return { number, service: "load", bytes: span.finish() };
}

/** vLLM's span of a request's prefill or decode, in a trace of its own unless the request has a traceparent. */
export function engineSpan(number: number, role: "prefill" | "decode", request: LoggedRequest): SentSpan {
  const [from, to] = role === "prefill" ? [0.004, 0.048] : [0.055, 0.19];
  const nano = (after: number): bigint =>
    BigInt(Math.round((WALL + request.at + (after as number) * request.stretch) * 1e6)) * 1000n;
  const [, traceId, parent] = request.traceparent?.split("-") ?? [];
  const span = new WireWriter()
    .bytes(
      1,
      traceId === undefined ? Buffer.concat([Buffer.alloc(8, 0xee), idOf(number)]) : Buffer.from(traceId, "hex"),
    )
    .bytes(2, idOf(number));
  if (parent !== undefined) span.bytes(4, Buffer.from(parent, "hex"));
  span
    .string(5, "llm_request")
    .uint(6, 2)
    .fixed64(7, nano(from as number))
    .fixed64(8, nano(to as number));
  text(span, "gen_ai.request.id", `cmpl-${request.id}-0`);
  for (const key of ["gen_ai.request.max_tokens", "gen_ai.usage.completion_tokens"])
    count(span, key, role === "prefill" ? 1 : 6);
  return { number, service: `vllm-${role}`, bytes: span.finish() };
}

/** An ExportTraceServiceRequest with these spans. */
export function exportRequest(spans: readonly SentSpan[]): Buffer {
  const request = new WireWriter();
  for (const service of new Set(spans.map((span) => span.service)))
    request.message(RESOURCE_SPANS, (resourceSpans) =>
      resourceSpans
        .message(RESOURCE, (resource) => text1(resource, "service.name", service))
        .message(SCOPE_SPANS, (scope) => {
          for (const span of spans) if (span.service === service) scope.bytes(SPANS, span.bytes);
        }),
    );
  return request.finish();
}

function text1(resource: WireWriter, key: string, value: string): void {
  resource.message(1, (pair) => pair.string(1, key).message(2, (any) => any.string(1, value)));
}
