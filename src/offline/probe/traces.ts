/** Looks for the traces of probe requests, in Jaeger or in what the file exporter writes, and whether they are whole. */
import { stat } from "node:fs/promises";
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../../omni/actions.ts";
import { assembleTraces, type SpanNode, walk } from "../../omni/trace-tree.ts";
import { decodeTraces } from "../../pdata/decode.ts";
import { attribute, type ResourceSpans } from "../../pdata/model.ts";
import { fetchTrace, findJaeger } from "../jaeger/client.ts";
import { readRequests } from "../otlp/recording.ts";
import { Problem, reasonOf } from "../problem.ts";
import { JAEGER_TIMEOUT_MS } from "../source.ts";

/** What was found of one request. Times are seconds. */
export interface TraceVerdict {
  readonly state: "complete" | "incomplete" | "missing";
  /** What it lacks. */
  readonly problem: string | undefined;
  readonly spans: number;
  readonly ttft: number | undefined;
  readonly tpot: number | undefined;
  readonly endToEnd: number | undefined;
}

/** Where traces are. */
export interface TraceStore {
  /** The spans of these traces, as far as they are there. @throws Problem */
  fetch(traceIds: readonly string[], stop?: AbortSignal): Promise<Map<string, readonly ResourceSpans[]>>;
}

/** Opens `source`: Jaeger's address, or a file that the file exporter writes. @throws Problem when nothing is there */
export async function openStore(
  source: string,
  headers: Readonly<Record<string, string>>,
  stop?: AbortSignal,
): Promise<TraceStore> {
  if (/^https?:/i.test(source)) {
    const query = { url: source, headers, timeoutMs: JAEGER_TIMEOUT_MS };
    await findJaeger(query, stop);
    return {
      async fetch(traceIds) {
        const found = new Map<string, readonly ResourceSpans[]>();
        for (const id of traceIds) {
          const trace = await fetchTrace(query, id, stop);
          if (trace) found.set(id, trace.resourceSpans);
        }
        return found;
      },
    };
  }
  try {
    await stat(source);
  } catch (error) {
    throw new Problem(
      `--traces ${source}: cannot be read (${reasonOf(error)}); give Jaeger's address as http://HOST:16686, or the file that the file exporter writes`,
    );
  }
  return { fetch: (traceIds) => fromFile(source, new Set(traceIds)) };
}

async function fromFile(path: string, wanted: ReadonlySet<string>): Promise<Map<string, readonly ResourceSpans[]>> {
  const found = new Map<string, ResourceSpans[]>();
  if ((await stat(path)).size === 0) return found;
  // A line that is still being written is read whole the next time.
  const notes = { damaged: () => undefined, cut: () => undefined, read: () => undefined };
  for await (const bytes of readRequests(path, notes)) {
    for (const { resource, scopeSpans, schemaUrl } of decodeTraces(bytes)) {
      for (const { scope, spans, schemaUrl: scopeUrl } of scopeSpans) {
        for (const span of spans) {
          if (!wanted.has(span.traceId)) continue;
          const part = { resource, scopeSpans: [{ scope, spans: [span], schemaUrl: scopeUrl }], schemaUrl };
          const parts = found.get(span.traceId);
          if (parts) parts.push(part);
          else found.set(span.traceId, [part]);
        }
      }
    }
  }
  return found;
}

/**
 * Judges the trace of a request. It is complete when it has one request's root, of that id and with a good outcome, whose
 * log tells everything, and a span of vLLM under each state in which vLLM ran.
 */
export function judge(spans: readonly ResourceSpans[] | undefined, id: string): TraceVerdict {
  const trees = assembleTraces(spans ?? []);
  const count = trees.reduce((sum, { spanCount }) => sum + spanCount, 0);
  const roots = trees.flatMap(({ request }) => (request ? [request] : []));
  const [root] = roots;
  if (!root) {
    return {
      state: count > 0 ? "incomplete" : "missing",
      problem:
        count > 0
          ? "vLLM's spans are there, the request's own are not: is Omni Proxy's log read, at level info?"
          : "no span of it is there",
      spans: count,
      ttft: undefined,
      tpot: undefined,
      endToEnd: undefined,
    };
  }
  const problems = [...(roots.length > 1 ? [`${roots.length} requests are in one trace`] : []), ...lacks(root, id)];
  return {
    state: problems.length > 0 ? "incomplete" : "complete",
    problem: problems.length > 0 ? problems.join("; ") : undefined,
    spans: count,
    ttft: number(root, "omni.ttft_seconds"),
    tpot: number(root, "omni.tpot_seconds"),
    endToEnd: Number(root.span.endUnixNano - root.span.startUnixNano) / 1e9,
  };
}

function lacks(root: SpanNode, id: string): string[] {
  const out: string[] = [];
  const { attributes } = root.span;
  const named = attribute(attributes, "request_id");
  if (named !== id) out.push(`it is request ${String(named)}: X-Request-Id did not come through`);
  const outcome = attribute(attributes, "omni.outcome");
  if (outcome !== "ok") out.push(`outcome ${String(outcome)}`);
  const missing = attribute(attributes, "omni.missing_actions");
  if (missing !== undefined) out.push(`the log lacks ${listOf(missing)}`);
  for (const state of [P_RUNNING_SPAN, D_RUNNING_SPAN]) {
    const running = root.children.find(({ span }) => span.name === state);
    if (running && ![...walk(running.children)].some(isEngineSpan)) out.push(`no span of vLLM under ${state}`);
  }
  if (![...walk([root])].some(isEngineSpan) && out.length === 0) out.push("no span of vLLM");
  return out;
}

/** Jaeger keeps a list as its JSON. */
function listOf(value: unknown): string {
  const list: unknown = typeof value === "string" && value.startsWith("[") ? JSON.parse(value) : value;
  return [list].flat().map(String).join(", ");
}

function isEngineSpan({ span }: SpanNode): boolean {
  return attribute(span.attributes, "gen_ai.request.id") !== undefined;
}

function number(node: SpanNode, key: string): number | undefined {
  const value = attribute(node.span.attributes, key);
  return typeof value === "number" ? value : undefined;
}
