/**
 * Pipelines -> nodes and edges, in an order in which everything can be started and stopped (service/internal/graph of
 * the Collector). Pure: it knows ids and signals only.
 */
import type { Signal } from "./api.ts";

/** A pipeline as the file has it: component ids as written. */
export interface PipelineSpec {
  /** "traces" or "traces/in". */
  readonly id: string;
  readonly signal: Signal;
  readonly receivers: readonly string[];
  readonly processors: readonly string[];
  readonly exporters: readonly string[];
}

/** One running component: a receiver, exporter or connector is shared by all pipelines that name it, a processor is one pipeline's own. */
export type GraphNode =
  | { readonly kind: "receiver" | "exporter" | "connector"; readonly id: string }
  | { readonly kind: "processor"; readonly id: string; readonly pipeline: string };

/** The signals that a connector can take, each with what it makes of it. */
export type ConnectorPairs = readonly (readonly [from: Signal, to: Signal])[];

/** Equal for equal nodes. */
export function nodeKey(node: GraphNode): string {
  return node.kind === "processor" ? `processor:${node.pipeline}:${node.id}` : `${node.kind}:${node.id}`;
}

interface Edge {
  readonly to: GraphNode;
  /** The pipeline it lies in. */
  readonly pipeline: PipelineSpec;
}

class Edges {
  readonly nodes = new Map<string, GraphNode>();
  readonly #from = new Map<string, Edge[]>();

  add(node: GraphNode): void {
    if (!this.nodes.has(nodeKey(node))) this.nodes.set(nodeKey(node), node);
  }

  join(from: GraphNode, edge: Edge): void {
    const known = this.#from.get(nodeKey(from)) ?? [];
    known.push(edge);
    this.#from.set(nodeKey(from), known);
  }

  of(node: GraphNode): readonly Edge[] {
    return this.#from.get(nodeKey(node)) ?? [];
  }
}

function edgesOf(pipelines: readonly PipelineSpec[], connectors: ReadonlyMap<string, ConnectorPairs>): Edges {
  const edges = new Edges();
  const end = (kind: "receiver" | "exporter", id: string): GraphNode => ({
    kind: connectors.has(id) ? "connector" : kind,
    id,
  });
  for (const pipeline of pipelines) {
    const sources = pipeline.receivers.map((id) => end("receiver", id));
    const processors = pipeline.processors.map((id): GraphNode => ({ kind: "processor", id, pipeline: pipeline.id }));
    const sinks = pipeline.exporters.map((id) => end("exporter", id));
    for (const node of [...sources, ...processors, ...sinks]) edges.add(node);
    const stages = [sources, ...processors.map((node) => [node]), sinks];
    for (const [index, stage] of stages.entries())
      for (const from of stage) for (const to of stages[index + 1] ?? []) edges.join(from, { to, pipeline });
  }
  return edges;
}

/**
 * The nodes in levels: every node stands behind all that send to it. Stopping level by level, first to last, drains
 * the graph; starting goes the other way round. When the pipelines run in a circle there is no such order.
 */
export function orderGraph(
  pipelines: readonly PipelineSpec[],
  connectors: ReadonlyMap<string, ConnectorPairs>,
): { readonly levels: readonly (readonly GraphNode[])[] } | { readonly cycle: string } {
  const edges = edgesOf(pipelines, connectors);
  const waiting = new Map([...edges.nodes.keys()].map((key) => [key, 0]));
  for (const node of edges.nodes.values())
    for (const { to } of edges.of(node)) waiting.set(nodeKey(to), (waiting.get(nodeKey(to)) ?? 0) + 1);
  const levels: GraphNode[][] = [];
  let level = [...edges.nodes.values()].filter((node) => waiting.get(nodeKey(node)) === 0);
  let placed = 0;
  while (level.length > 0) {
    levels.push(level);
    placed += level.length;
    const next: GraphNode[] = [];
    for (const node of level)
      for (const { to } of edges.of(node)) {
        const left = (waiting.get(nodeKey(to)) ?? 0) - 1;
        waiting.set(nodeKey(to), left);
        if (left === 0) next.push(to);
      }
    level = next;
  }
  return placed === edges.nodes.size ? { levels } : { cycle: describeCycle(edges) };
}

/** `connector "x" (traces to traces) -> processor "batch" in pipeline "traces" -> connector "x" (traces to traces)`. */
function describeCycle(edges: Edges): string {
  const cycle = findCycle(edges);
  const first = Math.max(
    0,
    cycle.findIndex((edge) => edge.to.kind === "connector"),
  );
  const turned = [...cycle.slice(first), ...cycle.slice(0, first)];
  const names = turned.map(({ to, pipeline }, index) => {
    if (to.kind === "processor") return `processor "${to.id}" in pipeline "${to.pipeline}"`;
    const onward = turned[(index + 1) % turned.length]?.pipeline.signal;
    return `${to.kind} "${to.id}" (${pipeline.signal} to ${onward})`;
  });
  return [...names, names[0]].join(" -> ");
}

/** Edges that lead back to where they began. */
function findCycle(edges: Edges): Edge[] {
  const done = new Set<string>();
  const path: Edge[] = [];
  const visit = (node: GraphNode): Edge[] | undefined => {
    for (const edge of edges.of(node)) {
      const start = path.findIndex((step) => nodeKey(step.to) === nodeKey(edge.to));
      if (start >= 0) return [edge, ...path.slice(start + 1)];
      if (done.has(nodeKey(edge.to))) continue;
      path.push(edge);
      const found = visit(edge.to);
      if (found) return found;
      path.pop();
      done.add(nodeKey(edge.to));
    }
    return undefined;
  };
  for (const node of edges.nodes.values()) {
    const found = visit(node);
    if (found) return found;
  }
  return [];
}

/** A connector that is not joined as it can be. */
export interface ConnectorMisuse {
  readonly connector: string;
  /** How the pipelines name it where it is in the way. */
  readonly as: "receiver" | "exporter";
  readonly pipelines: readonly string[];
  /** The Collector's words. */
  readonly message: string;
}

/** Connectors that are used on one side only, or between signals that they cannot join. */
export function connectorMisuses(
  pipelines: readonly PipelineSpec[],
  connectors: ReadonlyMap<string, ConnectorPairs>,
): ConnectorMisuse[] {
  const found: ConnectorMisuse[] = [];
  for (const [connector, pairs] of connectors) {
    const feeding = pipelines.filter((pipeline) => pipeline.exporters.includes(connector));
    const fed = pipelines.filter((pipeline) => pipeline.receivers.includes(connector));
    const joins = (from: Signal, to: Signal): boolean => pairs.some(([a, b]) => a === from && b === to);
    const loose = (
      as: "receiver" | "exporter",
      used: readonly PipelineSpec[],
      isJoined: (signal: Signal) => boolean,
    ) => {
      for (const signal of new Set(used.map((pipeline) => pipeline.signal))) {
        if (isJoined(signal)) continue;
        const names = used.filter((pipeline) => pipeline.signal === signal).map((pipeline) => pipeline.id);
        const other = as === "receiver" ? "exporter" : "receiver";
        found.push({
          connector,
          as,
          pipelines: names,
          message: `connector "${connector}" used as ${as} in [${names.join(" ")}] pipeline but not used in any supported ${other} pipeline`,
        });
      }
    };
    loose("exporter", feeding, (from) => fed.some((pipeline) => joins(from, pipeline.signal)));
    loose("receiver", fed, (to) => feeding.some((pipeline) => joins(pipeline.signal, to)));
  }
  return found;
}
