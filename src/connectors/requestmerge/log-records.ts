/**
 * Reads the lines out of an encoded ExportLogsServiceRequest: the bodies as bytes, and which log source each is from.
 * Works for the omni_proxy_log receiver's records and for those of a Collector's filelog receiver alike.
 * Field numbers: opentelemetry/proto/logs/v1/logs.proto.
 */
import type { SourceName } from "../../omni/log-table.ts";
import { withoutRotation } from "../../omni/rotation.ts";
import { LEN, WireCursor } from "../../pdata/wire.ts";

/** Sources that are kept; agents that send without end new ones find those forgotten that spoke longest ago. */
const MOST_SOURCES = 10_000;
const NONE = Buffer.alloc(0);
const FILE_PATH = Buffer.from("log.file.path");
const CONTINUED = Buffer.from("omni.log.continued");

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
  readonly #fields = new WireCursor(NONE);
  readonly #inner = new WireCursor(NONE);
  #lastResource: ResourceNames | undefined;
  /** The encoded value of the last log.file.path. */
  #lastPath: Buffer = NONE;
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
    let source: SourceName | undefined;
    let bodyFrom = -1;
    let bodyTo = -1;
    const record = this.#fields.reset(bytes, from, to);
    while (record.next()) {
      if (isField(record, 5)) {
        const body = this.#inner.reset(bytes, record.valueStart, record.valueEnd);
        while (body.next()) {
          if (!isField(body, 1) && !isField(body, 7)) continue;
          bodyFrom = body.valueStart;
          bodyTo = body.valueEnd;
        }
      } else if (isField(record, 6)) {
        const pair = this.#inner.reset(bytes, record.valueStart, record.valueEnd);
        if (!pair.next() || !isField(pair, 1)) continue;
        // The rest of a line that was too long: it could begin like a line of its own.
        if (isText(bytes, pair, CONTINUED)) return;
        if (isText(bytes, pair, FILE_PATH)) source = this.#sourceOf(resource, bytes, pair);
      }
    }
    if (bodyFrom < 0) return;
    source ??= this.#source(resource, resource.path);
    // An agent may send several lines as one record.
    let start = bodyFrom;
    for (let feed = bytes.indexOf(10, start); feed >= 0 && feed < bodyTo; feed = bytes.indexOf(10, start)) {
      take(source, bytes, start, feed);
      start = feed + 1;
    }
    if (start < bodyTo || start === bodyFrom) take(source, bytes, start, bodyTo);
  }

  /** The source of a record whose log.file.path attribute `pair` stands behind its key. Records of one file come in a row. */
  #sourceOf(resource: ResourceNames, bytes: Buffer, pair: WireCursor): SourceName | undefined {
    if (!pair.next() || !isField(pair, 2)) return undefined;
    const { valueStart, valueEnd } = pair;
    if (this.#last && this.#lastResource === resource && isText(bytes, pair, this.#lastPath)) return this.#last;
    this.#lastResource = resource;
    this.#lastPath = Buffer.from(bytes.subarray(valueStart, valueEnd));
    const value = new WireCursor(bytes, valueStart, valueEnd);
    this.#last = value.next() && isField(value, 1) ? this.#source(resource, value.string()) : undefined;
    return this.#last;
  }

  #source(resource: ResourceNames, path: string): SourceName {
    const name = withoutRotation(path);
    // The instance id names the source only where no path does: a rotated file's may differ from the file's own.
    const sourceKey = `${resource.host}\n${name === "" ? resource.instance : name}`;
    let source = this.#sources.get(sourceKey);
    if (source) this.#sources.delete(sourceKey);
    else source = { host: resource.host, path: name, instance: resource.instance, timezone: resource.timezone };
    this.#sources.set(sourceKey, source);
    if (this.#sources.size > MOST_SOURCES) this.#sources.delete(this.#sources.keys().next().value as string);
    return source;
  }
}

function isField(cursor: WireCursor, field: number): boolean {
  return cursor.field === field && cursor.wire === LEN;
}

function isText(bytes: Buffer, cursor: WireCursor, text: Buffer): boolean {
  const { valueStart, valueEnd } = cursor;
  if (valueEnd - valueStart !== text.length) return false;
  // From the end: keys of one family differ there. A loop, because the texts are short.
  for (let i = text.length - 1; i >= 0; i--) if (bytes[valueStart + i] !== text[i]) return false;
  return true;
}

function readResource(bytes: Buffer, from: number, to: number): ResourceNames {
  const names: ResourceNames = { host: "", instance: "", timezone: "Local", path: "" };
  const outer = new WireCursor(bytes, from, to);
  while (outer.next()) {
    if (!isField(outer, 1)) continue;
    const fields = new WireCursor(bytes, outer.valueStart, outer.valueEnd);
    while (fields.next()) {
      const pair = isField(fields, 1) ? stringPair(bytes, fields.valueStart, fields.valueEnd) : undefined;
      if (!pair) continue;
      if (pair[0] === "host.name") names.host = pair[1];
      else if (pair[0] === "service.instance.id") names.instance = pair[1];
      else if (pair[0] === "omni.log.timezone") names.timezone = pair[1];
      else if (pair[0] === "log.file.path") names.path = pair[1];
    }
  }
  return names;
}

function stringPair(bytes: Buffer, from: number, to: number): [string, string] | undefined {
  const pair = new WireCursor(bytes, from, to);
  if (!pair.next() || !isField(pair, 1)) return undefined;
  const key = pair.string();
  if (!pair.next() || !isField(pair, 2)) return undefined;
  const value = new WireCursor(bytes, pair.valueStart, pair.valueEnd);
  return value.next() && isField(value, 1) ? [key, value.string()] : undefined;
}
