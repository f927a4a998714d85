/** Verbosity `detailed`: traces as waterfalls, metrics and logs field by field. */
import { renderTraces } from "../../omni/waterfall.ts";
import { decodeTraces } from "../../pdata/decode.ts";
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import { asText, plainBatch, valueText } from "./plain-batch.ts";

/** A batch as text, a line feed at its end. @throws WireError when the bytes are no such request */
export function renderDetailed(batch: OtlpBatch<Signal>): string {
  if (batch.signal === "traces") return renderTraces(decodeTraces(batch.bytes));
  return asText(lines(plainBatch(batch), ""));
}

/** Keys in the order of proto/, nested ones indented, attributes and bodies on one line, list elements numbered. */
function lines(message: object, indent: string): string[] {
  return Object.entries(message).flatMap(([name, value]: [string, unknown]) => {
    if (name === "attributes")
      return (value as { key: string; value?: object }[]).map((pair) => attributeLine(pair, indent));
    if (name === "body") return [`${indent}body: ${valueText(value as never)}`];
    if (Array.isArray(value) && value.every((element) => typeof element !== "object"))
      return [`${indent}${name}: ${value.join(", ")}`];
    if (Array.isArray(value))
      return value.flatMap((element: object, at) => [`${indent}${name} #${at}`, ...lines(element, `${indent}  `)]);
    if (typeof value === "object" && value !== null) return [`${indent}${name}`, ...lines(value, `${indent}  `)];
    return [`${indent}${name}: ${value}`];
  });
}

function attributeLine(pair: { key?: string; value?: object }, indent: string): string {
  return `${indent}-> ${pair.key ?? ""}: ${valueText((pair.value ?? {}) as never)}`;
}
