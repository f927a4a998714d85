/**
 * Lines as OTLP log records (opentelemetry/proto/logs/v1/logs.proto), written straight from the read buffer: no string
 * a line. Pure.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { LEN, varintSize, WireWriter } from "../../pdata/wire.ts";
import type { Lines } from "./lines.ts";

/** Attribute names. `log.file.*` are those of OpenTelemetry's semantic conventions. */
export const Attributes = {
  fileName: "log.file.name",
  filePath: "log.file.path",
  /** Byte offset of the line's start in its file. */
  position: "log.file.position",
  /** true on what is left of a line that was cut at `max_log_size`. */
  continued: "omni.log.continued",
  format: "omni.log.format",
  timezone: "omni.log.timezone",
} as const;

/** Where lines come from: the attributes that all of them share. */
export interface Origin {
  /** The path under which the file was found first; a rotation does not change it. */
  readonly path: string;
  readonly host: string;
  /** As configured. */
  readonly format: string;
  readonly timezone: string;
}

/** One batch to be. */
export interface LineBatch {
  readonly bytes: Buffer;
  readonly lines: Lines;
  /** Position in the file of `bytes[0]`. */
  readonly position: number;
  /** Whether the first line is what is left of one that was cut. */
  readonly isContinued: boolean;
  /** When it was read. */
  readonly observedUnixMs: number;
}

/** Field numbers. */
const RESOURCE_LOGS = 1; // ExportLogsServiceRequest.resource_logs, ResourceLogs
const RESOURCE = 1; // ResourceLogs.resource, Resource
const RESOURCE_ATTRIBUTES = 1; // Resource.attributes, KeyValue
const SCOPE_LOGS = 2; // ResourceLogs.scope_logs, ScopeLogs
const LOG_RECORDS = 2; // ScopeLogs.log_records, LogRecord
const BODY = 5; // LogRecord.body, AnyValue
const RECORD_ATTRIBUTES = 6; // LogRecord.attributes, KeyValue
const OBSERVED_TIME = 11; // LogRecord.observed_time_unix_nano, fixed64
const KEY = 1; // KeyValue.key, string
const VALUE = 2; // KeyValue.value, AnyValue
const STRING_VALUE = 1; // AnyValue.string_value
const BOOL_VALUE = 2; // AnyValue.bool_value
const INT_VALUE = 3; // AnyValue.int_value
const BYTES_VALUE = 7; // AnyValue.bytes_value

/** Encodes the lines of one origin. Safe to share between files of that origin; `encode` keeps nothing. */
export class RecordEncoder {
  /** The Resource message. */
  readonly #resource: Buffer;
  /** Attribute fields that each record has. */
  readonly #fileAttributes: Buffer;
  /** The attribute field that marks what is left of a line. */
  readonly #continued: Buffer;

  constructor(origin: Origin) {
    const resource = new WireWriter();
    putText(resource, RESOURCE_ATTRIBUTES, "host.name", origin.host);
    putText(resource, RESOURCE_ATTRIBUTES, "service.instance.id", instanceId(origin.host, origin.path));
    putText(resource, RESOURCE_ATTRIBUTES, Attributes.format, origin.format);
    putText(resource, RESOURCE_ATTRIBUTES, Attributes.timezone, origin.timezone);
    this.#resource = resource.finish();
    const attributes = new WireWriter();
    putText(attributes, RECORD_ATTRIBUTES, Attributes.fileName, basename(origin.path));
    putText(attributes, RECORD_ATTRIBUTES, Attributes.filePath, origin.path);
    this.#fileAttributes = attributes.finish();
    this.#continued = new WireWriter()
      .message(RECORD_ATTRIBUTES, (pair) =>
        pair.string(KEY, Attributes.continued).message(VALUE, (value) => value.uint(BOOL_VALUE, 1)),
      )
      .finish();
  }

  /**
   * An ExportLogsServiceRequest with one ResourceLogs and one record a line. The body is the line's bytes as they are:
   * a string, or `bytes_value` where they are not valid UTF-8. `time_unix_nano` stays unset: which clock a line's time
   * is of is for its reader to say.
   */
  encode(batch: LineBatch): Buffer {
    const { bytes, lines, position, observedUnixMs } = batch;
    const { bounds, next } = lines;
    const observed = Buffer.alloc(9);
    observed[0] = OBSERVED_TIME * 8 + 1;
    observed.writeBigUInt64LE(BigInt(Math.round(observedUnixMs)) * 1_000_000n, 1);
    const isAllText = isUtf8(bytes.subarray(bounds[0] ?? 0, next));

    const sizes: number[] = [];
    let total = 0;
    for (let at = 0; at < bounds.length; at += 2) {
      const start = bounds[at] as number;
      const end = bounds[at + 1] as number;
      const size =
        observed.length +
        this.#fileAttributes.length +
        fieldSize(fieldSize(end - start)) +
        fieldSize(positionPairSize(position + start)) +
        (isContinued(batch, at) ? this.#continued.length : 0);
      sizes.push(size);
      total += fieldSize(size);
    }

    const scopeLogs = fieldSize(total);
    const resourceLogs = fieldSize(this.#resource.length) + scopeLogs;
    const writer = new WireWriter(fieldSize(resourceLogs));
    writer.tag(RESOURCE_LOGS, LEN).varint(resourceLogs);
    writer.bytes(RESOURCE, this.#resource);
    writer.tag(SCOPE_LOGS, LEN).varint(total);
    for (let at = 0; at < bounds.length; at += 2) {
      const start = bounds[at] as number;
      const end = bounds[at + 1] as number;
      writer.tag(LOG_RECORDS, LEN).varint(sizes[at / 2] as number);
      const isText = isAllText || isUtf8(bytes.subarray(start, end));
      writer.tag(BODY, LEN).varint(fieldSize(end - start));
      writer.tag(isText ? STRING_VALUE : BYTES_VALUE, LEN).varint(end - start);
      writer.raw(bytes, start, end).raw(this.#fileAttributes);
      putPosition(writer, position + start);
      if (isContinued(batch, at)) writer.raw(this.#continued);
      writer.raw(observed);
    }
    return writer.finish();
  }
}

/** Whether the line whose bounds begin at `at` begins where the one before was cut, with no line feed between. */
function isContinued(batch: LineBatch, at: number): boolean {
  const { bounds } = batch.lines;
  return at === 0 ? batch.isContinued : bounds[at] === bounds[at - 1];
}

/** Bytes of a length-delimited field with a one-byte tag. */
function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

const positionKey = new WireWriter().string(KEY, Attributes.position).finish();

/** Bytes of the KeyValue of a position. */
function positionPairSize(position: number): number {
  return positionKey.length + fieldSize(1 + varintSize(position));
}

function putPosition(writer: WireWriter, position: number): void {
  writer.tag(RECORD_ATTRIBUTES, LEN).varint(positionPairSize(position)).raw(positionKey);
  writer.tag(VALUE, LEN).varint(1 + varintSize(position));
  writer.uint(INT_VALUE, position);
}

function putText(writer: WireWriter, field: number, key: string, value: string): void {
  writer.message(field, (pair) => pair.string(KEY, key).message(VALUE, (any) => any.string(STRING_VALUE, value)));
}

/** The namespace that OpenTelemetry's semantic conventions give for service.instance.id made by UUID version 5. */
const INSTANCE_NAMESPACE = Buffer.from("4d63009a8d0f11eeaad74c796ed8e320", "hex");

/** A UUID (version 5, RFC 9562) that is the same for the same host and path in every run. */
export function instanceId(host: string, path: string): string {
  const hash = createHash("sha1").update(INSTANCE_NAMESPACE).update(`${host}\0${path}`).digest().subarray(0, 16);
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  return hash.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
