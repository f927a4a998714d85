/**
 * Finds, in an encoded ExportTraceServiceRequest, the spans that name a request, without decoding the rest.
 * Field numbers are those of opentelemetry/proto/trace/v1/trace.proto and common.proto.
 */
import { FIXED32, FIXED64, LEN, VARINT, WireCursor } from "../pdata/wire.ts";
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
  /** Absent where the batch is gone: a span that was read back from a journal. */
  readonly places?: SpanPlaces | undefined;
}

/** Where a span's fields stand in the batch: those that the merge changes in place. */
export interface SpanPlaces {
  readonly bytes: Buffer;
  /** True when the trace id is there once and whole, and parent and flags at most once: `span-patch` then copies and overwrites. */
  readonly isPlain: boolean;
  /** The 16 bytes of the trace id, -1 where there are none. */
  readonly traceIdAt: number;
  /** The 8 bytes of the parent's id, -1 where there are none. */
  readonly parentAt: number;
  /** The 4 bytes of the flags, -1 where there are none. */
  readonly flagsAt: number;
}

/** What the merge needs of a resource. */
export interface ResourceFacts {
  readonly attributes: ReadonlyMap<string, string>;
  /** What names a vLLM process: its instance id, else its service; "" for nothing. */
  readonly instance: string;
}

/** The facts of a resource with these text attributes. */
export function resourceFacts(attributes: ReadonlyMap<string, string>): ResourceFacts {
  return { attributes, instance: attributes.get("service.instance.id") ?? attributes.get("service.name") ?? "" };
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
const KEYS: ({ readonly key: Key; readonly bytes: Buffer } | undefined)[] = new Array(128).fill(undefined);
for (const key of WANTED) KEYS[key.length] = { key, bytes: Buffer.from(key) };

/* Tags of Span's fields (trace.proto), and of KeyValue's and AnyValue's (common.proto). */
const TRACE_ID_TAG = 8 + LEN;
const SPAN_ID_TAG = 16 + LEN;
const PARENT_TAG = 32 + LEN;
const START_TAG = 56 + FIXED64;
const END_TAG = 64 + FIXED64;
const ATTRIBUTE_TAG = 72 + LEN;
const KEY_TAG = 8 + LEN;
const VALUE_TAG = 16 + LEN;
const TEXT_TAG = 8 + LEN;
const INTEGER_TAG = 24 + VARINT;
const FLAGS_FIELD = 16;
const TWO_32 = 2 ** 32;

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
  readonly #found: Found;
  readonly #span: WireCursor;
  readonly #pair: WireCursor;
  readonly #value: WireCursor;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#found = new Found(bytes);
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
    return resourceFacts(attributes);
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
    const bytes = this.#bytes;
    const found = this.#found.reset();
    const index = this.traceIdAt.length;
    const span = this.#span;
    let at = from;
    while (at < to) {
      const tag = bytes[at] as number;
      // Most of a span's fields are attributes of less than 128 bytes.
      if (tag === ATTRIBUTE_TAG && at + 1 < to && (bytes[at + 1] as number) < 128) {
        const end = at + 2 + (bytes[at + 1] as number);
        if (end <= to) {
          this.#attribute(found, at + 2, end);
          at = end;
          continue;
        }
      }
      span.reset(bytes, at, to).next();
      at = span.valueEnd;
      if (tag === ATTRIBUTE_TAG) this.#attribute(found, span.valueStart, at);
      else if (tag < 128) found.field(tag, span.valueStart, at);
      else found.far(span);
    }
    this.traceIdAt.push(found.firstTraceIdAt);
    const idAt = found.genAiIdAt >= 0 ? found.genAiIdAt : found.requestIdAt;
    if (idAt < 0) {
      if (this.#isLlmRequest(from, to)) this.anonymous++;
      return;
    }
    const idEnd = found.genAiIdAt >= 0 ? found.genAiIdEnd : found.requestIdEnd;
    this.named.push(new ScannedSpan(index, bytes, bytes.toString("utf8", idAt, idEnd), found, resource()));
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

  /** Keeps an attribute that matters, told by its key's bytes: most spans of other programs have none of them. */
  #attribute(found: Found, from: number, to: number): void {
    const bytes = this.#bytes;
    if (to - from > 2 && bytes[from] === KEY_TAG && (bytes[from + 1] as number) < 128) {
      // Told by its key before anything is walked: half of the attributes go no further.
      const length = bytes[from + 1] as number;
      const at = from + 2 + length;
      const likely = KEYS[length];
      if (likely === undefined || !endsWith(bytes, at, likely.bytes)) return;
      const size = to - at - 2;
      if (size > 1 && bytes[at] === VALUE_TAG && bytes[at + 1] === size && found.plain(likely.key, at + 2, to)) return;
    }
    const pair = this.#pair.reset(bytes, from, to);
    if (!pair.next() || !isField(pair, 1)) return;
    const wanted = KEYS[pair.valueEnd - pair.valueStart];
    if (!wanted || !endsWith(bytes, pair.valueEnd, wanted.bytes)) return;
    if (!pair.next() || !isField(pair, 2)) return;
    const value = this.#value.reset(bytes, pair.valueStart, pair.valueEnd);
    if (!value.next()) return;
    if (value.field === 1 && value.wire === LEN) found.text(wanted.key, value.valueStart, value.valueEnd);
    else if (value.field === 3 && value.wire === VARINT) found.number(wanted.key, Number(value.int64()));
  }
}

/** True when the bytes before `end` are `wanted`; from the back, where the keys differ. */
function endsWith(bytes: Buffer, end: number, wanted: Buffer): boolean {
  const start = end - wanted.length;
  for (let i = wanted.length - 1; i >= 0; i--) if (bytes[start + i] !== wanted[i]) return false;
  return true;
}

/** What was found in the span at hand: places, -1 where it has no such field. One object serves all spans of a batch. */
class Found {
  genAiIdAt = -1;
  genAiIdEnd = -1;
  requestIdAt = -1;
  requestIdEnd = -1;
  responseModelAt = -1;
  responseModelEnd = -1;
  requestModelAt = -1;
  requestModelEnd = -1;
  maxTokens: number | undefined;
  completionTokens: number | undefined;
  promptTokens: number | undefined;
  role: Role | undefined;
  /** Of a field that comes twice: the first is what moves along, the last is what protobuf reads. */
  firstTraceIdAt = -1;
  traceIdAt = -1;
  traceIdEnd = -1;
  spanIdAt = -1;
  spanIdEnd = -1;
  parentAt = -1;
  parentEnd = -1;
  startAt = -1;
  endAt = -1;
  flagsAt = -1;
  /** False once a field came twice or in a length that it should not have. */
  isPlain = true;

  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  reset(): this {
    this.genAiIdAt = -1;
    this.requestIdAt = -1;
    this.responseModelAt = -1;
    this.requestModelAt = -1;
    this.maxTokens = undefined;
    this.completionTokens = undefined;
    this.promptTokens = undefined;
    this.role = undefined;
    this.firstTraceIdAt = -1;
    this.traceIdAt = -1;
    this.traceIdEnd = -1;
    this.spanIdAt = -1;
    this.parentAt = -1;
    this.parentEnd = -1;
    this.startAt = -1;
    this.endAt = -1;
    this.flagsAt = -1;
    this.isPlain = true;
    return this;
  }

  /** A field with a tag of one byte, attributes apart. */
  field(tag: number, from: number, to: number): void {
    switch (tag) {
      case TRACE_ID_TAG:
        if (this.traceIdAt >= 0 || to - from !== 16) this.isPlain = false;
        if (this.traceIdAt < 0 || this.traceIdEnd === this.traceIdAt)
          this.firstTraceIdAt = to - from === 16 ? from : -1;
        this.traceIdAt = from;
        this.traceIdEnd = to;
        break;
      case SPAN_ID_TAG:
        this.spanIdAt = from;
        this.spanIdEnd = to;
        break;
      case PARENT_TAG:
        if (this.parentAt >= 0 || to - from !== 8) this.isPlain = false;
        this.parentAt = from;
        this.parentEnd = to;
        break;
      case START_TAG:
        this.startAt = from;
        break;
      case END_TAG:
        this.endAt = from;
        break;
    }
  }

  /** A field with a longer tag. */
  far({ field, wire, valueStart, valueEnd }: WireCursor): void {
    if (field === FLAGS_FIELD && wire === FIXED32) {
      if (this.flagsAt >= 0) this.isPlain = false;
      this.flagsAt = valueStart;
    } else if (field < FLAGS_FIELD) {
      // A tag that was spelled with more bytes than it needs.
      this.isPlain = false;
      this.field(field * 8 + wire, valueStart, valueEnd);
    }
  }

  /** An AnyValue of one field: a text, or a small number. @returns false for any other, which is then not kept */
  plain(key: Key, from: number, to: number): boolean {
    const bytes = this.#bytes;
    const first = bytes[from + 1] as number;
    if (bytes[from] === TEXT_TAG) {
      if (first !== to - from - 2) return false;
      this.text(key, from + 2, to);
      return true;
    }
    if (bytes[from] !== INTEGER_TAG) return false;
    if (to - from === 2) this.number(key, first);
    else if (to - from === 3) this.number(key, (first & 127) | ((bytes[from + 2] as number) << 7));
    else return false;
    return true;
  }

  text(key: Key, from: number, to: number): void {
    switch (key) {
      case "gen_ai.request.id":
        this.genAiIdAt = from;
        this.genAiIdEnd = to;
        break;
      case "request_id":
        this.requestIdAt = from;
        this.requestIdEnd = to;
        break;
      case "gen_ai.response.model":
        this.responseModelAt = from;
        this.responseModelEnd = to;
        break;
      case "gen_ai.request.model":
        if (this.requestModelAt >= 0) break;
        this.requestModelAt = from;
        this.requestModelEnd = to;
        break;
      case "role": {
        const role = this.#bytes.toString("utf8", from, to);
        if (role.startsWith("prefill")) this.role = "prefill";
        else if (role.startsWith("decode")) this.role = "decode";
        break;
      }
      default: // a number
    }
  }

  number(key: Key, value: number): void {
    if (key === "gen_ai.request.max_tokens") this.maxTokens = value;
    else if (key === "gen_ai.usage.completion_tokens") this.completionTokens = value;
    else if (key === "gen_ai.usage.prompt_tokens") this.promptTokens = value;
  }
}

/** A span as it stands in its batch: what is rarely asked for is read when it is. Keeps the batch's bytes alive. */
class ScannedSpan implements SpanFacts, SpanPlaces {
  readonly index: number;
  readonly bytes: Buffer;
  readonly requestId: string;
  readonly fromVllm: boolean;
  readonly maxTokens: number | undefined;
  readonly completionTokens: number | undefined;
  readonly promptTokens: number | undefined;
  readonly toldRole: Role | undefined;
  readonly resource: ResourceFacts;
  readonly startUs: number;
  readonly endUs: number;
  readonly isPlain: boolean;
  readonly traceIdAt: number;
  readonly parentAt: number;
  readonly flagsAt: number;
  readonly #traceIdFrom: number;
  readonly #traceIdEnd: number;
  readonly #parentFrom: number;
  readonly #parentEnd: number;
  readonly #spanIdAt: number;
  readonly #spanIdEnd: number;
  readonly #startAt: number;
  readonly #endAt: number;
  readonly #modelAt: number;
  readonly #modelEnd: number;

  constructor(index: number, bytes: Buffer, requestId: string, found: Found, resource: ResourceFacts) {
    this.index = index;
    this.bytes = bytes;
    this.requestId = requestId;
    this.fromVllm = found.genAiIdAt >= 0;
    this.maxTokens = found.maxTokens;
    this.completionTokens = found.completionTokens;
    this.promptTokens = found.promptTokens;
    this.toldRole = found.role;
    this.resource = resource;
    this.startUs = microsAt(bytes, found.startAt);
    this.endUs = microsAt(bytes, found.endAt);
    this.isPlain = found.isPlain && found.traceIdAt >= 0;
    this.traceIdAt = found.traceIdEnd - found.traceIdAt === 16 ? found.traceIdAt : -1;
    this.parentAt = found.parentEnd - found.parentAt === 8 ? found.parentAt : -1;
    this.flagsAt = found.flagsAt;
    this.#traceIdFrom = found.traceIdAt;
    this.#parentFrom = found.parentAt;
    this.#traceIdEnd = found.traceIdEnd;
    this.#parentEnd = found.parentEnd;
    this.#spanIdAt = found.spanIdAt;
    this.#spanIdEnd = found.spanIdEnd;
    this.#startAt = found.startAt;
    this.#endAt = found.endAt;
    const isResponse = found.responseModelAt >= 0;
    this.#modelAt = isResponse ? found.responseModelAt : found.requestModelAt;
    this.#modelEnd = isResponse ? found.responseModelEnd : found.requestModelEnd;
  }

  get places(): SpanPlaces {
    return this;
  }

  get traceId(): string {
    return this.#traceIdFrom < 0 ? "" : this.bytes.toString("hex", this.#traceIdFrom, this.#traceIdEnd);
  }

  get spanId(): string {
    return this.#spanIdAt < 0 ? "" : this.bytes.toString("hex", this.#spanIdAt, this.#spanIdEnd);
  }

  get parentSpanId(): string {
    return this.#parentFrom < 0 ? "" : this.bytes.toString("hex", this.#parentFrom, this.#parentEnd);
  }

  get startNanos(): bigint {
    return this.#startAt < 0 ? 0n : this.bytes.readBigUInt64LE(this.#startAt);
  }

  get endNanos(): bigint {
    return this.#endAt < 0 ? 0n : this.bytes.readBigUInt64LE(this.#endAt);
  }

  get model(): string | undefined {
    return this.#modelAt < 0 ? undefined : this.bytes.toString("utf8", this.#modelAt, this.#modelEnd);
  }
}

/** A fixed64 of nanoseconds as microseconds; rounded once, as a bigint made a number would be. */
function microsAt(bytes: Buffer, at: number): number {
  return at < 0 ? 0 : (wordAt(bytes, at + 4) * TWO_32 + wordAt(bytes, at)) / 1000;
}

function wordAt(bytes: Buffer, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}
