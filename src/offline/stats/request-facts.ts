/** What a request's root and the spans below it tell, wherever they come from: a log, a recording or Jaeger. */
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../../omni/actions.ts";
import { attribute, type KeyValue, type SpanData } from "../../pdata/model.ts";
import type { PlacedSpan, RequestTree } from "../request-tree.ts";

/** Durations of a request in seconds, as the merge puts them on its root; absent where they are not known. */
export const FIGURES = {
  "end-to-end": undefined,
  TTFT: "omni.ttft_seconds",
  TPOT: "omni.tpot_seconds",
  prefill: "omni.prefill_seconds",
  decode: "omni.decode_seconds",
  queue: "omni.queue_seconds",
  "KV wait": "omni.kv_wait_seconds",
} as const;
export type FigureName = keyof typeof FIGURES;
export const FIGURE_NAMES = Object.keys(FIGURES) as FigureName[];

export interface RequestFacts {
  readonly id: string;
  readonly outcome: string;
  readonly policy: string;
  readonly prefillAddress: string;
  readonly decodeAddress: string;
  readonly figures: ReadonlyMap<FigureName, number>;
  /** Whether the log has the state, and whether vLLM sent a span for it. */
  readonly wantsPrefill: boolean;
  readonly wantsDecode: boolean;
  readonly hasPrefillSpan: boolean;
  readonly hasDecodeSpan: boolean;
  /** The log has its end. */
  readonly ended: boolean;
}

/** The facts of one request. */
export function factsOf({ root, spans }: RequestTree): RequestFacts {
  const text = (key: string): string => textAttribute(root.attributes, key);
  const figures = new Map<FigureName, number>([["end-to-end", Number(root.endUnixNano - root.startUnixNano) / 1e9]]);
  for (const name of FIGURE_NAMES) {
    const key = FIGURES[name];
    const value = key === undefined ? undefined : attribute(root.attributes, key);
    if (typeof value === "number") figures.set(name, value);
    else if (typeof value === "bigint") figures.set(name, Number(value));
  }
  const has = (name: string): boolean => spans.some(({ span }) => span.name === name);
  const fromVllm = spans.filter(({ span }) => isVllmSpan(span));
  return {
    id: text("request_id"),
    outcome: text("omni.outcome"),
    policy: text("omni.pd_policy"),
    prefillAddress: text("omni.prefill.address"),
    decodeAddress: text("omni.decode.address"),
    figures,
    wantsPrefill: has(P_RUNNING_SPAN),
    wantsDecode: has(D_RUNNING_SPAN),
    hasPrefillSpan: fromVllm.some((span) => roleOf(span) === "prefill"),
    hasDecodeSpan: fromVllm.some((span) => roleOf(span) === "decode"),
    ended: attribute(root.attributes, "omni.incomplete") !== true,
  };
}

/** One of vLLM's own spans of a request. */
export function isVllmSpan(span: SpanData): boolean {
  return attribute(span.attributes, "gen_ai.request.id") !== undefined;
}

/** "prefill" or "decode" for spans of the vLLM side, "proxy" for the others. */
export function roleOf({ span }: Pick<PlacedSpan, "span">): string {
  return textAttribute(span.attributes, "omni.role") || "proxy";
}

/** A text attribute; "" where there is none. */
export function textAttribute(attributes: readonly KeyValue[], key: string): string {
  const value = attribute(attributes, key);
  return typeof value === "string" ? value : "";
}
