/**
 * Finds, in an encoded ExportTraceServiceRequest, the spans that name a request, without decoding the rest.
 * Field numbers are those of opentelemetry/proto/trace/v1/trace.proto and common.proto.
 */
import { FIXED64, LEN, VARINT, WireCursor } from "../pdata/wire.ts";
import type { Role } from "./actions.ts";
import { startsWith } from "./bytes.ts";

/** What the merge needs of a span that names a request. Times are unix microseconds. */
export interface SpanFacts {
  /** Position among all spans of the batch, in order of their bytes. */
  readonly index: number;
  /** 32 lower-case hex digits, "" when empty. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  /** gen_ai.request.id, or request_id of OmniInfer's online tracing. */
  readonly requestId: string;
  /** True for gen_ai.request.id: one of vLLM's own llm_request spans. */
  readonly fromVllm: boolean;
  readonly maxTokens: number | undefined;
  readonly completionTokens: number | undefined;
  readonly promptTokens: number | undefined;
  readonly model: string | undefined;
  /** OmniInfer's `role` attribute. */
  readonly toldRole: Role | undefined;
  readonly resource: ResourceFacts;
}

/** What the merge needs of a resource. */
export interface ResourceFacts {
  readonly attributes: ReadonlyMap<string, string>;
}

/** What was found in one batch. */
export interface Scan {
  /** For every span of the batch: where its 16-byte trace id stands, or -1. */
  readonly traceIdAt: readonly number[];
  readonly named: readonly SpanFacts[];
  /** Spans called llm_request that name no request. */
  readonly anonymous: number;
}

const WANTED = [
  "gen_ai.request.id",
  "request_id",
  "gen_ai.response.model",
  "gen_ai.request.model",
  "role",
  "gen_ai.request.max_tokens",
  "gen_ai.usage.completion_tokens",
  "gen_ai.usage.prompt_tokens",
] as const;
type Key = (typeof WANTED)[number];

/** The attributes that matter by their keys' length: no two have the same. */
const KEYS: { readonly key: Key; readonly bytes: Buffer }[] = [];
for (const key of WANTED) KEYS[key.length] = { key, bytes: Buffer.from(key) };

const LLM_REQUEST = Buffer.from("llm_request");

/** Scans a batch. @throws WireError on bytes that the receiver should have refused */
export function scanTraces(bytes: Uint8Array): Scan {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scanner = new Scanner(buffer);
  scanner.request();
  return { traceIdAt: scanner.traceIdAt, named: scanner.named, anonymous: scanner.anonymous };
}

/** True for a LEN field of that number. A function, so that the compiler does not take the cursor for unchanging. */
function isField(cursor: WireCursor, field: number): boolean {
  return cursor.field === field && cursor.wire === LEN;
}

class Scanner {
  readonly traceIdAt: number[] = [];
  anonymous = 0;
  readonly named: SpanFacts[] = [];
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #span: WireCursor;
  readonly #pair: WireCursor;
  readonly #value: WireCursor;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#span = new WireCursor(bytes);
    this.#pair = new WireCursor(bytes);
    this.#value = new WireCursor(bytes);
  }

  request(): void {
    const cursor = new WireCursor(this.#bytes);
    while (cursor.next())
      if (cursor.field === 1 && cursor.wire === LEN) this.#resourceSpans(cursor.valueStart, cursor.valueEnd);
  }

  #resourceSpans(from: number, to: number): void {
    let resource: ResourceFacts | undefined;
    const read = (): ResourceFacts => {
      resource ??= this.#resource(from, to);
      return resource;
    };
    const cursor = new WireCursor(this.#bytes, from, to);
    const scope = new WireCursor(this.#bytes);
    while (cursor.next()) {
      if (cursor.field !== 2 || cursor.wire !== LEN) continue;
      scope.reset(this.#bytes, cursor.valueStart, cursor.valueEnd);
      while (scope.next())
        if (scope.field === 2 && scope.wire === LEN) this.#oneSpan(scope.valueStart, scope.valueEnd, read);
    }
  }

  #resource(from: number, to: number): ResourceFacts {
    const attributes = new Map<string, string>();
    const outer = new WireCursor(this.#bytes, from, to);
    while (outer.next()) {
      if (outer.field !== 1 || outer.wire !== LEN) continue;
      const fields = new WireCursor(this.#bytes, outer.valueStart, outer.valueEnd);
      while (fields.next()) {
        if (fields.field !== 1 || fields.wire !== LEN) continue;
        const pair = this.#stringPair(fields.valueStart, fields.valueEnd);
        if (pair) attributes.set(pair[0], pair[1]);
      }
    }
    return { attributes };
  }

  #stringPair(from: number, to: number): [string, string] | undefined {
    let key = "";
    let value: string | undefined;
    const pair = new WireCursor(this.#bytes, from, to);
    while (pair.next()) {
      if (pair.field === 1 && pair.wire === LEN) key = pair.string();
      else if (pair.field === 2 && pair.wire === LEN) {
        const inner = new WireCursor(this.#bytes, pair.valueStart, pair.valueEnd);
        while (inner.next()) if (inner.field === 1 && inner.wire === LEN) value = inner.string();
      }
    }
    return value === undefined ? undefined : [key, value];
  }

  #oneSpan(from: number, to: number, resource: () => ResourceFacts): void {
    const index = this.traceIdAt.length;
    let traceIdAt = -1;
    let traceId = "";
    let spanId = "";
    let parentSpanId = "";
    let startNanos = 0n;
    let endNanos = 0n;
    const found: Found = {};
    const span = this.#span.reset(this.#bytes, from, to);
    while (span.next()) {
      if (span.wire === FIXED64) {
        if (span.field === 7) startNanos = this.#view.getBigUint64(span.valueStart, true);
        else if (span.field === 8) endNanos = this.#view.getBigUint64(span.valueStart, true);
      }
      if (span.wire !== LEN) continue;
      if (span.field === 9) this.#attribute(found, span.valueStart, span.valueEnd);
      else if (span.field === 1) {
        // A field that comes twice: the first is what moves along, the last is what protobuf reads.
        if (traceId === "") traceIdAt = span.valueEnd - span.valueStart === 16 ? span.valueStart : -1;
        traceId = this.#hex(span);
      } else if (span.field === 2) spanId = this.#hex(span);
      else if (span.field === 4) parentSpanId = this.#hex(span);
    }
    this.traceIdAt.push(traceIdAt);
    const requestId = found.genAiId ?? found.requestId;
    if (requestId === undefined) {
      if (this.#isLlmRequest(from, to)) this.anonymous++;
      return;
    }
    this.named.push({
      index,
      traceId,
      spanId,
      parentSpanId,
      startNanos,
      endNanos,
      startUs: Number(startNanos) / 1000,
      endUs: Number(endNanos) / 1000,
      requestId,
      fromVllm: found.genAiId !== undefined,
      maxTokens: found.maxTokens,
      completionTokens: found.completionTokens,
      promptTokens: found.promptTokens,
      model: found.model,
      toldRole: found.role,
      resource: resource(),
    });
  }

  #isLlmRequest(from: number, to: number): boolean {
    const span = this.#span.reset(this.#bytes, from, to);
    while (span.next()) {
      if (isField(span, 5))
        return (
          span.valueEnd - span.valueStart === LLM_REQUEST.length &&
          startsWith(this.#bytes, span.valueStart, to, LLM_REQUEST)
        );
    }
    return false;
  }

  #hex(cursor: WireCursor): string {
    return this.#bytes.toString("hex", cursor.valueStart, cursor.valueEnd);
  }

  /** Keeps an attribute that matters, told by its key's bytes: most spans of other programs have none of them. */
  #attribute(found: Found, from: number, to: number): void {
    const pair = this.#pair.reset(this.#bytes, from, to);
    if (!pair.next() || !isField(pair, 1)) return;
    const wanted = KEYS[pair.valueEnd - pair.valueStart];
    if (!wanted || !startsWith(this.#bytes, pair.valueStart, pair.valueEnd, wanted.bytes)) return;
    if (!pair.next() || !isField(pair, 2)) return;
    const value = this.#value.reset(this.#bytes, pair.valueStart, pair.valueEnd);
    if (value.next()) keep(found, wanted.key, value);
  }
}

function keep(found: Found, key: Key, value: WireCursor): void {
  if (value.field === 1 && value.wire === LEN) {
    if (key === "gen_ai.request.id") found.genAiId = value.string();
    else if (key === "request_id") found.requestId = value.string();
    else if (key === "gen_ai.response.model") found.model = value.string();
    else if (key === "gen_ai.request.model") found.model ??= value.string();
    else if (key === "role") {
      const role = value.string();
      if (role.startsWith("prefill")) found.role = "prefill";
      else if (role.startsWith("decode")) found.role = "decode";
    }
  } else if (value.field === 3 && value.wire === VARINT) {
    const number = Number(value.int64());
    if (key === "gen_ai.request.max_tokens") found.maxTokens = number;
    else if (key === "gen_ai.usage.completion_tokens") found.completionTokens = number;
    else if (key === "gen_ai.usage.prompt_tokens") found.promptTokens = number;
  }
}

interface Found {
  genAiId?: string;
  requestId?: string;
  maxTokens?: number;
  completionTokens?: number;
  promptTokens?: number;
  model?: string;
  role?: Role;
}
