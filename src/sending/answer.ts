/** What OTLP servers answer: partial success, google.rpc.Status with RetryInfo, and which failures may be tried again. */
import type { Settings } from "../kernel/api.ts";
import { ConsumeError } from "../kernel/errors.ts";
import { formatId } from "../kernel/id.ts";
import type { Signal } from "../pdata/payload.ts";
import { LEN, VARINT, WireCursor } from "../pdata/wire.ts";
import { Throttle } from "../telemetry/throttle.ts";
import { ContentError } from "./divide.ts";

/** The part of google.rpc.Status that matters to a sender. */
export interface PeerStatus {
  /** google.rpc.Code. */
  readonly code: number;
  readonly message: string;
  /** google.rpc.RetryInfo.retry_delay in milliseconds; undefined when there is no RetryInfo. */
  readonly retryAfterMs: number | undefined;
}

/** What the server kept back of a request that it accepted. */
export interface PartialSuccess {
  readonly rejected: number;
  readonly message: string;
}

const RETRY_INFO = "google.rpc.RetryInfo";

/** Reads an encoded google.rpc.Status: code=1, message=2, details=3 (Any: type_url=1, value=2). @throws WireError */
export function decodeStatus(bytes: Uint8Array): PeerStatus {
  let code = 0;
  let message = "";
  let retryAfterMs: number | undefined;
  for (const field of fields(bytes)) {
    if (field.field === 1 && field.wire === VARINT) code = Number(BigInt.asIntN(32, field.int64()));
    else if (field.field === 2 && field.wire === LEN) message = field.string();
    else if (field.field === 3 && field.wire === LEN) retryAfterMs ??= decodeRetryInfo(field.view());
  }
  return { code, message, retryAfterMs };
}

/** Any with a RetryInfo: retry_delay=1 (Duration: seconds=1, nanos=2). */
function decodeRetryInfo(any: Uint8Array): number | undefined {
  let type = "";
  let value: Uint8Array = new Uint8Array(0);
  for (const field of fields(any)) {
    if (field.field === 1 && field.wire === LEN) type = field.string();
    else if (field.field === 2 && field.wire === LEN) value = field.view();
  }
  if (!type.endsWith(`/${RETRY_INFO}`)) return undefined;
  let ms = 0;
  for (const info of fields(value)) {
    if (info.field !== 1 || info.wire !== LEN) continue;
    for (const duration of fields(info.view())) {
      if (duration.wire !== VARINT) continue;
      if (duration.field === 1) ms += Number(duration.int64()) * 1000;
      else if (duration.field === 2) ms += Number(BigInt.asIntN(32, duration.int64())) / 1e6;
    }
  }
  return Math.max(0, ms);
}

/** The fields of one message, one after the other in the same cursor. */
function* fields(bytes: Uint8Array): Generator<WireCursor> {
  const cursor = new WireCursor(bytes);
  while (cursor.next()) yield cursor;
}

/** The same from protobuf's JSON mapping; undefined when `text` is no such thing. */
export function parseStatusJson(text: string): PeerStatus | undefined {
  const status = parseObject(text);
  if (!status) return undefined;
  const details = Array.isArray(status["details"]) ? status["details"] : [];
  const retryInfo = details.find((detail) => String(detail?.["@type"]).endsWith(`/${RETRY_INFO}`));
  const delay = /^(\d+(?:\.\d+)?)s$/.exec(String(retryInfo?.["retryDelay"] ?? ""))?.[1];
  return {
    code: Number(status["code"] ?? 0),
    message: String(status["message"] ?? ""),
    retryAfterMs: retryInfo === undefined ? undefined : Number(delay ?? 0) * 1000,
  };
}

/** Reads an Export*ServiceResponse: partial_success=1 (rejected_*=1, error_message=2). @throws WireError */
export function decodePartialSuccess(bytes: Uint8Array): PartialSuccess {
  let rejected = 0;
  let message = "";
  for (const field of fields(bytes)) {
    if (field.field !== 1 || field.wire !== LEN) continue;
    for (const inner of fields(field.view())) {
      if (inner.field === 1 && inner.wire === VARINT) rejected = Number(inner.int64());
      else if (inner.field === 2 && inner.wire === LEN) message = inner.string();
    }
  }
  return { rejected, message };
}

/** The same from protobuf's JSON mapping. @throws SyntaxError when `text` is not a JSON object */
export function parsePartialSuccessJson(text: string): PartialSuccess {
  const response = parseObject(text);
  if (!response) throw new SyntaxError("expected a JSON object");
  const partial = (response["partialSuccess"] ?? response["partial_success"] ?? {}) as Record<string, unknown>;
  const rejected = Object.entries(partial).find(([key]) => key.startsWith("rejected"))?.[1] ?? 0;
  return { rejected: Number(rejected), message: String(partial["errorMessage"] ?? partial["error_message"] ?? "") };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const RESOURCE_EXHAUSTED = 8;
/** CANCELED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS: OTLP's retryable codes. */
const RETRYABLE_CODES: ReadonlySet<number> = new Set([1, 4, 10, 11, 14, 15]);

/** Whether OTLP lets a client send again after this gRPC code; RESOURCE_EXHAUSTED only when the server sent RetryInfo. */
export function isRetryableCode(code: number, retryAfterMs: number | undefined): boolean {
  return RETRYABLE_CODES.has(code) || (code === RESOURCE_EXHAUSTED && retryAfterMs !== undefined);
}

const INVALID_ARGUMENT = 3;
const INTERNAL = 13;
/** What grpc-go, and so the Collector and Jaeger, say of a request that holds something they cannot read. */
const UNREADABLE = /error unmarshalling request/;

/**
 * A peer's refusal as the pipeline knows it: a ContentError where a part of the request may be at fault rather than the
 * sender, the address or the peer (docs/adr/016).
 */
export function refusal(
  retryable: boolean,
  message: string,
  details: { readonly code: number; readonly retryAfterMs?: number | undefined; readonly cause?: unknown },
): ConsumeError {
  const { code, retryAfterMs, cause } = details;
  if (!retryable && (code === INVALID_ARGUMENT || (code === INTERNAL && UNREADABLE.test(message))))
    return new ContentError(message, { grpcCode: code, cause });
  return new ConsumeError(retryable ? "retryable" : "permanent", message, {
    grpcCode: code,
    // A delay of 0 in RetryInfo means: whenever you like.
    retryAfterMs: retryAfterMs || undefined,
    cause,
  });
}

/** Says at most once a minute, and counts always, what servers rejected of requests that they accepted. */
export class PartialSuccessReport {
  readonly #settings: Settings;
  readonly #throttle: Throttle;
  readonly #count: (signal: Signal, rejected: number) => void;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#throttle = new Throttle(settings.clock);
    const counter = settings.metrics.counter(
      "omnishim_exporter_rejected_items",
      "Spans, metric points or log records that the destination rejected of requests it accepted (partial success); not sent again",
      ["exporter", "data_type"],
    );
    const exporter = formatId(settings.id);
    this.#count = (signal, rejected) => counter.add(rejected, { exporter, data_type: signal });
  }

  /** `outcome` of 0 and "" is full success. */
  note(signal: Signal, outcome: PartialSuccess): void {
    if (outcome.rejected === 0 && outcome.message === "") return;
    if (outcome.rejected > 0) this.#count(signal, outcome.rejected);
    const passed = this.#throttle.pass(signal, outcome.rejected);
    if (!passed) return;
    this.#settings.logger.warn("Partial success response", {
      message: outcome.message,
      [{ traces: "dropped_spans", metrics: "dropped_data_points", logs: "dropped_log_records" }[signal]]: passed.weight,
      responses: passed.held + 1,
    });
  }
}
