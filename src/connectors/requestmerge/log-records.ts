/**
 * Reads the lines out of an encoded ExportLogsServiceRequest: the bodies as bytes, and which log source each is from.
 * Works for the omni_proxy_log receiver's records and for those of a Collector's filelog receiver alike.
 * Field numbers: opentelemetry/proto/logs/v1/logs.proto.
 */
import type { SourceName } from "../../omni/log-table.ts";
import { LEN, WireCursor } from "../../pdata/wire.ts";

/** Sources that are kept; agents that send without end new ones find the oldest forgotten. */
const MOST_SOURCES = 10_000;
/** What rotation puts behind a log's name: nginx_error.log.1, access.log-20261122, error.log.2.gz. */
const ROTATED = /(?:\.\d{1,4}|[-.]\d{8}(?:[-.]?\d{2,6})?)(?:\.(?:gz|xz|zst|bz2))?$/;

/** Called for each line: its source and where it stands in `bytes`. */
export type TakeLine = (source: SourceName, bytes: Buffer, from: number, to: number) => void;

interface ResourceNames {
  host: string;
  instance: string;
  timezone: string;
  path: string;
}

export class LogRecords {
  readonly #sources = new Map<string, SourceName>();
  #lastKey = "";
  #last: SourceName | undefined;

  /** Calls `take` for every record that has a text or bytes body, in order. A body may hold several lines. @throws WireError */
  read(encoded: Uint8Array, take: TakeLine): void {
    const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
    const request = new WireCursor(bytes);
    const scopes = new WireCursor(bytes);
    const records = new WireCursor(bytes);
    while (request.next()) {
      if (!isField(request, 1)) continue;
      const resource = readResource(bytes, request.valueStart, request.valueEnd);
      scopes.reset(bytes, request.valueStart, request.valueEnd);
      while (scopes.next()) {
        if (!isField(scopes, 2)) continue;
        records.reset(bytes, scopes.valueStart, scopes.valueEnd);
        while (records.next())
          if (isField(records, 2)) this.#record(bytes, records.valueStart, records.valueEnd, resource, take);
      }
    }
  }

  #record(bytes: Buffer, from: number, to: number, resource: ResourceNames, take: TakeLine): void {
    let path = resource.path;
    let bodyFrom = -1;
    let bodyTo = -1;
    const record = new WireCursor(bytes, from, to);
    while (record.next()) {
      if (isField(record, 5)) {
        const body = new WireCursor(bytes, record.valueStart, record.valueEnd);
        while (body.next()) {
          if (!isField(body, 1) && !isField(body, 7)) continue;
          bodyFrom = body.valueStart;
          bodyTo = body.valueEnd;
        }
      } else if (isField(record, 6)) {
        // The rest of a line that was too long: it could begin like a line of its own.
        if (isContinued(bytes, record.valueStart, record.valueEnd)) return;
        const pair = stringPair(bytes, record.valueStart, record.valueEnd, isPathKey);
        if (pair && (pair[0] === "log.file.path" || path === "")) path = pair[1];
      }
    }
    if (bodyFrom < 0) return;
    const source = this.#source(resource, path);
    // An agent may send several lines as one record.
    let start = bodyFrom;
    for (let feed = bytes.indexOf(10, start); feed >= 0 && feed < bodyTo; feed = bytes.indexOf(10, start)) {
      take(source, bytes, start, feed);
      start = feed + 1;
    }
    if (start < bodyTo || start === bodyFrom) take(source, bytes, start, bodyTo);
  }

  #source(resource: ResourceNames, path: string): SourceName {
    const key = `${resource.host}\n${resource.instance}\n${resource.timezone}\n${path}`;
    if (key === this.#lastKey && this.#last) return this.#last;
    const name = path.replace(ROTATED, "");
    // The instance id names the source only where no path does: a rotated file's may differ from the file's own.
    const sourceKey = `${resource.host}\n${name === "" ? resource.instance : name}`;
    let source = this.#sources.get(sourceKey);
    if (!source) {
      source = { host: resource.host, path: name, instance: resource.instance, timezone: resource.timezone };
      this.#sources.set(sourceKey, source);
      if (this.#sources.size > MOST_SOURCES) this.#sources.delete(this.#sources.keys().next().value as string);
    }
    this.#lastKey = key;
    this.#last = source;
    return source;
  }
}

function isField(cursor: WireCursor, field: number): boolean {
  return cursor.field === field && cursor.wire === LEN;
}

function isPathKey(bytes: Buffer, from: number, to: number): boolean {
  return to - from === 13 && bytes[from] === 108 && bytes[from + 9] === 46; // log.file.path, log.file.name
}

const CONTINUED = Buffer.from("omni.log.continued");

function isContinued(bytes: Buffer, from: number, to: number): boolean {
  const pair = new WireCursor(bytes, from, to);
  return (
    pair.next() &&
    isField(pair, 1) &&
    pair.valueEnd - pair.valueStart === CONTINUED.length &&
    bytes.compare(CONTINUED, 0, CONTINUED.length, pair.valueStart, pair.valueEnd) === 0
  );
}

function readResource(bytes: Buffer, from: number, to: number): ResourceNames {
  const names: ResourceNames = { host: "", instance: "", timezone: "Local", path: "" };
  const outer = new WireCursor(bytes, from, to);
  while (outer.next()) {
    if (!isField(outer, 1)) continue;
    const fields = new WireCursor(bytes, outer.valueStart, outer.valueEnd);
    while (fields.next()) {
      const pair = isField(fields, 1) ? stringPair(bytes, fields.valueStart, fields.valueEnd, () => true) : undefined;
      if (!pair) continue;
      if (pair[0] === "host.name") names.host = pair[1];
      else if (pair[0] === "service.instance.id") names.instance = pair[1];
      else if (pair[0] === "omni.log.timezone") names.timezone = pair[1];
      else if (pair[0] === "log.file.path") names.path = pair[1];
    }
  }
  return names;
}

function stringPair(
  bytes: Buffer,
  from: number,
  to: number,
  wanted: (bytes: Buffer, from: number, to: number) => boolean,
): [string, string] | undefined {
  const pair = new WireCursor(bytes, from, to);
  if (!pair.next() || !isField(pair, 1) || !wanted(bytes, pair.valueStart, pair.valueEnd)) return undefined;
  const key = pair.string();
  if (!pair.next() || !isField(pair, 2)) return undefined;
  const value = new WireCursor(bytes, pair.valueStart, pair.valueEnd);
  return value.next() && isField(value, 1) ? [key, value.string()] : undefined;
}
