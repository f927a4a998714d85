/** What the demo says after the waterfalls: a count of what was merged and what is missing, and what to do next. Pure. */
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../omni/actions.ts";
import { printable } from "../omni/text.ts";
import { assembleTraces, type SpanNode, walk } from "../omni/trace-tree.ts";
import { attribute, type ResourceSpans } from "../pdata/model.ts";

/** What came out of the merge. */
export interface Census {
  readonly requests: number;
  /** omni.outcome -> requests, the most frequent first. */
  readonly outcomes: readonly (readonly [outcome: string, requests: number])[];
  /** Requests with a span of vLLM under each state in which vLLM ran. */
  readonly complete: number;
  /** The others: which span each lacks, and how it ended. */
  readonly gaps: readonly { readonly id: string; readonly without: readonly string[]; readonly outcome: string }[];
  /** vLLM's spans under a request, and elsewhere. */
  readonly merged: number;
  readonly unmerged: number;
}

/** Counts over merged traces. */
export function takeCensus(resources: readonly ResourceSpans[]): Census {
  const trees = assembleTraces(resources);
  const requests = trees.flatMap(({ request }) => (request ? [request] : []));
  const outcomes = new Map<string, number>();
  const gaps: { id: string; without: string[]; outcome: string }[] = [];
  for (const request of requests) {
    const outcome = textOf(request, "omni.outcome");
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    const without = [P_RUNNING_SPAN, D_RUNNING_SPAN].filter((state) =>
      request.children.some(({ span, children }) => span.name === state && !children.some(isEngineSpan)),
    );
    if (without.length > 0) gaps.push({ id: textOf(request, "request_id"), without, outcome });
  }
  const merged = [...walk(requests)].filter(isEngineSpan).length;
  const all = trees.flatMap(({ tops }) => [...walk(tops)]).filter(isEngineSpan).length;
  return {
    requests: requests.length,
    outcomes: [...outcomes].sort((a, b) => b[1] - a[1]),
    complete: requests.length - gaps.length,
    gaps,
    merged,
    unmerged: all - merged,
  };
}

/** The census in a few lines. */
export function describeCensus(census: Census): string[] {
  const lines = [
    `requests  ${census.requests}: ${census.outcomes.map(([outcome, count]) => `${count} ${printable(outcome)}`).join(", ")}`,
    `spans     ${census.merged} llm_request spans of vLLM merged, ${census.unmerged} unmerged`,
    `complete  ${census.complete}: a span of vLLM under each state in which it ran`,
  ];
  for (const { id, without, outcome } of census.gaps)
    lines.push(`missing   ${printable(id)} (${printable(outcome)}): no span under ${without.join(" and ")}`);
  return lines;
}

/** What to do after the demo. */
export const NEXT_STEPS: readonly string[] = [
  "1. Name Omni Proxy's log and your Jaeger in otel.yml, and start the proxy with --log-level info.",
  "2. Run the shim:       npx omnishim --config otel.yml        (in this repository: npm start -- --config otel.yml)",
  "3. Point vLLM at it:   vllm serve MODEL --otlp-traces-endpoint http://HOST:4317",
  "4. Look at Jaeger:     http://HOST:16686, service omni-proxy",
];

function isEngineSpan({ span }: SpanNode): boolean {
  return attribute(span.attributes, "gen_ai.request.id") !== undefined;
}

function textOf(node: SpanNode, key: string): string {
  const value = attribute(node.span.attributes, key);
  return typeof value === "string" ? value : "";
}
