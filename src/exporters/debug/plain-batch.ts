/** A batch as nested objects, and attribute values as text. */
import { printable } from "../../omni/text.ts";
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import { type Plain, toPlain } from "../../pdata/plain.ts";

/** 64-bit integers as decimal strings, bytes as base64, doubles as numbers. */
export function plainBatch(batch: OtlpBatch<Signal>): Plain {
  return toPlain(batch.signal, batch.bytes, {
    integer: String,
    bytes: (value) => value.toString("base64"),
    double: (value) => value,
  });
}

/** The messages of a repeated field; [] when there are none. */
export function children(message: Plain, name: string): Plain[] {
  return (message[name] ?? []) as Plain[];
}

/** A nested message; {} when it is absent. */
export function child(message: Plain, name: string): Plain {
  return (message[name] ?? {}) as Plain;
}

/** A string or number field as text; "" when it has its default. */
export function textOf(message: Plain, name: string): string {
  const value = message[name];
  return value === undefined ? "" : String(value);
}

/** An AnyValue as pcommon.Value.AsString gives it: scalars as they are, bytes in base64, lists and maps as JSON. */
export function valueText(value: Plain): string {
  const json = valueJson(value);
  return typeof json === "string" ? json : json === null ? "" : JSON.stringify(json);
}

function valueJson(value: Plain): unknown {
  const [kind, inner] = Object.entries(value)[0] ?? [];
  switch (kind) {
    case "intValue":
      // An integer beyond 2^53 must not be rounded; as text it is exact.
      return Number.isSafeInteger(Number(inner)) ? Number(inner) : inner;
    case "doubleValue":
      return Number.isFinite(inner) ? inner : String(inner);
    case "arrayValue":
      return children(inner as Plain, "values").map(valueJson);
    case "kvlistValue":
      return Object.fromEntries(
        children(inner as Plain, "values").map((pair) => [textOf(pair, "key"), valueJson(child(pair, "value"))]),
      );
    case undefined:
      return null;
    default:
      return inner;
  }
}

/** Lines with a line feed behind each. What senders wrote cannot begin a line of its own nor steer a terminal. */
export function asText(lines: readonly string[]): string {
  return lines.map((line) => `${printable(line)}\n`).join("");
}
