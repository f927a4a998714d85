import type { Logs } from "../../src/pdata/payload.ts";
import { protoRoot } from "./proto.ts";

/** A log record as its receiver sees it, decoded by protobufjs. */
export interface ReceivedRecord {
  /** The body's bytes, whether it came as a string or as bytes. */
  readonly body: Buffer;
  readonly kind: "string" | "bytes";
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
  /** 0n when unset. */
  readonly timeUnixNano: bigint;
  readonly observedUnixNano: bigint;
}

interface Value {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string;
  bytesValue?: Buffer;
}
interface Pair {
  key: string;
  value: Value;
}
interface Request {
  resourceLogs?: {
    resource?: { attributes?: Pair[] };
    scopeLogs?: {
      logRecords?: { body?: Value; attributes?: Pair[]; timeUnixNano?: string; observedTimeUnixNano?: string }[];
    }[];
  }[];
}

const request = protoRoot().lookupType("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest");

/** All records of a batch, in order. @throws when `bytes` are not an ExportLogsServiceRequest or `items` is wrong. */
export function readRecords(batch: Logs): ReceivedRecord[] {
  const decoded = request.toObject(request.decode(batch.bytes), { longs: String, bytes: Buffer }) as Request;
  const records = (decoded.resourceLogs ?? []).flatMap(({ resource, scopeLogs = [] }) =>
    scopeLogs.flatMap(({ logRecords = [] }) =>
      logRecords.map((record): ReceivedRecord => {
        const { stringValue, bytesValue } = record.body ?? {};
        return {
          body: stringValue === undefined ? Buffer.from(bytesValue ?? []) : Buffer.from(stringValue),
          kind: stringValue === undefined ? "bytes" : "string",
          attributes: plain(record.attributes),
          resource: plain(resource?.attributes),
          timeUnixNano: BigInt(record.timeUnixNano ?? 0),
          observedUnixNano: BigInt(record.observedTimeUnixNano ?? 0),
        };
      }),
    ),
  );
  if (records.length !== batch.items) throw new Error(`items says ${batch.items}, there are ${records.length} records`);
  return records;
}

function plain(pairs: readonly Pair[] = []): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map(({ key, value }) => [
      key,
      value.intValue === undefined
        ? (value.stringValue ?? value.boolValue ?? value.bytesValue)
        : Number(value.intValue),
    ]),
  );
}
