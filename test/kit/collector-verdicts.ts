import { readFileSync } from "node:fs";
import type { Signal } from "../../src/pdata/payload.ts";

/** A request and what the Collector 0.155 itself makes of it (test/peers/modules/pdata-verdicts). */
export interface Verdict {
  readonly signal: Signal;
  readonly form: "proto" | "json";
  readonly body: Buffer;
  /** The unmarshaller's message; absent when it accepted. */
  readonly error?: string;
  /** Spans, data points or log records. */
  readonly items: number;
  /** The request as the Collector would send it on. */
  readonly proto: Buffer;
  /** That as JSON; absent where the Collector cannot write it (NaN, infinities). */
  readonly json?: string;
}

/** The vendored verdicts on requests in this form. */
export function collectorVerdicts(form: Verdict["form"]): Verdict[] {
  return readFileSync(new URL("../fixtures/otlp/collector-verdicts.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((verdict) => verdict.form === form)
    .map(({ hex, text, proto, ...verdict }) => ({
      ...verdict,
      body: hex === undefined ? Buffer.from(text ?? "") : Buffer.from(hex, "hex"),
      proto: Buffer.from(proto ?? "", "hex"),
    }));
}
