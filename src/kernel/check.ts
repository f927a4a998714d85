/** What holds between the parts of a configuration: references, directions, signals, circles, ports. */
import type { MapNode } from "../config/node.ts";
import type { ServiceConfig } from "../config/service.ts";
import { closest } from "../config/suggest.ts";
import type { Configured, Signal } from "./api.ts";
import type { PlannedComponents } from "./factories.ts";
import { connectorMisuses, type GraphNode, orderGraph, type PipelineSpec } from "./graph.ts";
import { parseId } from "./id.ts";
import { clashes } from "./listens.ts";
import type { ProblemList } from "./problems.ts";

/** What is checked, and where to say what is wrong. */
interface Draft {
  readonly top: MapNode;
  readonly components: PlannedComponents;
  /** What of the section could be decoded; undefined when nothing could. */
  readonly service: ServiceConfig | undefined;
  /** Pipelines are missing in `service` because they could not be decoded: what is said about all of them is not known. */
  readonly lacksPipelines: boolean;
  /** Types of extension that this build has. */
  readonly extensionTypes: readonly string[];
  readonly found: ProblemList;
}

/** What the check found out on the way. */
interface Checked {
  readonly pipelines: readonly PipelineSpec[];
  readonly levels: readonly (readonly GraphNode[])[];
  readonly warnings: readonly string[];
}

const SIGNALS: readonly string[] = ["traces", "metrics", "logs"];

/** Adds every problem to `draft.found`; undefined when there is no service section to check against. */
export function checkPlan(draft: Draft): Checked | undefined {
  const { components, service, found, top } = draft;
  checkEmptiness(draft);
  checkAmbiguousConnectors(draft);
  if (!service) return undefined;
  checkExtensions(draft, service);
  if (Object.keys(service.pipelines).length === 0 && !draft.lacksPipelines)
    found.add(["service", "pipelines"], "service must have at least one pipeline", {
      ...(top.entries.size === 0 ? {} : { hint: "for example traces: {receivers: [otlp], exporters: [debug]}" }),
    });
  const pipelines: PipelineSpec[] = [];
  for (const [id, config] of Object.entries(service.pipelines)) {
    const signal = checkPipelineId(id, found);
    if (!signal) continue;
    const spec: PipelineSpec = {
      id: id.trim(),
      signal,
      receivers: unique(config.receivers),
      processors: unique(config.processors),
      exporters: unique(config.exporters),
    };
    checkPipeline({ ...spec, ...trimAll(config) }, id, draft);
    pipelines.push(spec);
  }
  const levels = draft.lacksPipelines ? [] : checkGraph(pipelines, components, found);
  const used = usedIds(pipelines, service.extensions);
  checkListens(components, used, found);
  checkExtensionReferences(components, used, service.extensions, found);
  return { pipelines, levels, warnings: unusedWarnings(components, used) };
}

function trimAll(config: ServiceConfig["pipelines"][string]) {
  const trim = (ids: readonly string[]): string[] => ids.map((id) => id.trim());
  return { receivers: trim(config.receivers), processors: trim(config.processors), exporters: trim(config.exporters) };
}

function unique(ids: readonly string[]): string[] {
  return [...new Set(ids.map((id) => id.trim()))];
}

function checkEmptiness({ top, found }: Draft): void {
  const has = (name: string): boolean => {
    const node = top.entries.get(name)?.node;
    return node?.kind === "map" && node.entries.size > 0;
  };
  if (!["receivers", "processors", "exporters", "connectors", "extensions"].some(has))
    found.add([], "empty configuration file", { hint: "run `omnishim --help` for where to begin" });
  else {
    if (!has("receivers")) found.add([], "no receiver configuration specified in config");
    if (!has("exporters")) found.add([], "no exporter configuration specified in config");
  }
}

function checkAmbiguousConnectors({ components, found }: Draft): void {
  for (const id of components.connectors.keys())
    for (const kind of ["exporter", "receiver"] as const)
      if (components[`${kind}s`].has(id))
        found.add(
          ["connectors", id],
          `ambiguous ID: Found both "${id}" ${kind} and "${id}" connector. Change one of the components' IDs to eliminate ambiguity (e.g. rename "${id}" connector to "${id}/connector")`,
          { atKey: true },
        );
}

/** Whether the file has the component, of whatever type: an unknown type is reported there and nowhere else. */
function isWritten(top: MapNode, sectionName: string, id: string): boolean {
  const node = top.entries.get(sectionName)?.node;
  return node?.kind === "map" && [...node.entries.keys()].some((written) => written.trim() === id);
}

function checkExtensions(draft: Draft, service: ServiceConfig): void {
  const { components, found, top } = draft;
  for (const [index, written] of service.extensions.entries()) {
    const id = written.trim();
    const place = { place: ["service", "extensions", String(index)] };
    if (!components.extensions.has(id) && !isWritten(top, "extensions", id))
      found.add(["service", "extensions"], `references extension "${id}" which is not configured`, {
        ...place,
        hint: missingExtensionHint(id, draft),
      });
  }
}

function missingExtensionHint(id: string, { components, extensionTypes }: Draft): string {
  const configured = closest(id, [...components.extensions.keys()]);
  if (configured) return `did you mean \`${configured}\`?`;
  const [type = "", ...name] = id.split("/");
  if (extensionTypes.includes(type)) return `add \`${id}:\` under extensions`;
  const known = closest(type, extensionTypes);
  if (!known) return `extensions of this build: ${extensionTypes.join(", ")}`;
  const meant = [known, ...name].join("/");
  return `did you mean \`${meant}\`? It also needs \`${meant}:\` under extensions`;
}

function checkPipelineId(id: string, found: ProblemList): Signal | undefined {
  const path = ["service", "pipelines", id];
  const parsed = parseId(id);
  if (typeof parsed === "string") {
    found.add(path, parsed, { atKey: true, hint: "write signal or signal/name, such as traces or traces/in" });
    return undefined;
  }
  if (SIGNALS.includes(parsed.type)) return parsed.type as Signal;
  const guess = closest(parsed.type, SIGNALS);
  found.add(path, `in "${id}" id: unknown pipeline signal: "${parsed.type}"`, {
    atKey: true,
    hint: guess ? `did you mean \`${guess}\`?` : `known signals: ${SIGNALS.join(", ")}`,
  });
  return undefined;
}

function near(word: string, candidates: readonly string[]): { hint?: string } {
  const found = closest(word, candidates);
  return found ? { hint: `did you mean \`${found}\`?` } : {};
}

/** @param spec with the lists as written, so that places in the file are right. */
function checkPipeline(spec: PipelineSpec, written: string, { components, found, top }: Draft): void {
  const path = ["service", "pipelines", written];
  if (spec.receivers.length === 0) found.add(path, "must have at least one receiver", { atKey: true });
  if (spec.exporters.length === 0) found.add(path, "must have at least one exporter", { atKey: true });
  const { receivers, processors, exporters, connectors } = components;
  for (const [index, id] of spec.processors.entries())
    if (spec.processors.indexOf(id) < index)
      found.add(path, `references processor "${id}" multiple times`, {
        place: [...path, "processors", String(index)],
      });
  for (const [kind, known, ids] of [
    ["receiver", receivers, spec.receivers],
    ["processor", processors, spec.processors],
    ["exporter", exporters, spec.exporters],
  ] as const) {
    for (const [index, id] of ids.entries()) {
      const place = [...path, `${kind}s`, String(index)];
      const component = known.get(id);
      if (component) {
        if (!component.factory.signals.includes(spec.signal))
          found.add(
            path,
            `failed to create "${id}" ${kind} for data type "${spec.signal}": telemetry type is not supported`,
            {
              place,
              hint: `"${id}" works in pipelines of ${component.factory.signals.join(", ")}`,
            },
          );
      } else if (kind === "processor" || !connectors.has(id)) {
        if (isWritten(top, `${kind}s`, id) || (kind !== "processor" && isWritten(top, "connectors", id))) continue;
        const candidates = kind === "processor" ? [...known.keys()] : [...known.keys(), ...connectors.keys()];
        found.add(path, `references ${kind} "${id}" which is not configured`, { place, ...near(id, candidates) });
      }
    }
  }
}

function checkGraph(
  pipelines: readonly PipelineSpec[],
  components: PlannedComponents,
  found: ProblemList,
): readonly (readonly GraphNode[])[] {
  const pairs = new Map([...components.connectors].map(([id, { factory }]) => [id, factory.pairs]));
  for (const misuse of connectorMisuses(pipelines, pairs)) {
    const pipeline = misuse.pipelines[0] ?? "";
    const section = `${misuse.as}s` as const;
    const index = pipelines.find((spec) => spec.id === pipeline)?.[section].indexOf(misuse.connector) ?? 0;
    const joined = (pairs.get(misuse.connector) ?? []).map(([from, to]) => `${from} to ${to}`).join(", ");
    found.add([], misuse.message, {
      place: ["service", "pipelines", pipeline, section, String(index)],
      hint: `a connector is an exporter of one pipeline and a receiver of another; "${misuse.connector}" joins ${joined}`,
    });
  }
  const ordered = orderGraph(pipelines, pairs);
  if ("levels" in ordered) return ordered.levels;
  found.add([], `cycle detected: ${ordered.cycle}`, {
    place: ["service", "pipelines"],
    atKey: true,
    hint: "take the connector out of the exporters of one of these pipelines",
  });
  return [];
}

/** `receivers:otlp`, `extensions:health_check`. */
function usedIds(pipelines: readonly PipelineSpec[], extensions: readonly string[]): ReadonlySet<string> {
  const used = new Set(extensions.map((id) => `extensions:${id.trim()}`));
  for (const { receivers, processors, exporters } of pipelines) {
    for (const id of receivers) used.add(`receivers:${id}`).add(`connectors:${id}`);
    for (const id of processors) used.add(`processors:${id}`);
    for (const id of exporters) used.add(`exporters:${id}`).add(`connectors:${id}`);
  }
  return used;
}

type AnyPlanned = ReadonlyMap<string, { readonly configured: Configured<unknown>; readonly factory: { type: string } }>;

function* usedComponents(
  components: PlannedComponents,
  used: ReadonlySet<string>,
): Generator<{ section: string; id: string; configured: Configured<unknown> }> {
  for (const [section, planned] of Object.entries(components) as [string, AnyPlanned][])
    for (const [id, { configured }] of planned) if (used.has(`${section}:${id}`)) yield { section, id, configured };
}

function checkListens(components: PlannedComponents, used: ReadonlySet<string>, found: ProblemList): void {
  const listens = [...usedComponents(components, used)].flatMap(({ section, id, configured }) =>
    (configured.listens ?? []).map(({ path, address }) => ({ path: [section, id, ...path], address })),
  );
  for (const [first, second] of clashes(listens))
    found.add(
      second.path,
      `address ${second.address} is already taken by ${first.path.join("::")} (${first.address})`,
      {
        hint: "give one of the two another port",
      },
    );
}

function checkExtensionReferences(
  components: PlannedComponents,
  used: ReadonlySet<string>,
  enabled: readonly string[],
  found: ProblemList,
): void {
  for (const { section, id, configured } of usedComponents(components, used))
    for (const { path, id: extension } of configured.extensions ?? []) {
      const full = [section, id, ...path];
      if (!components.extensions.has(extension))
        found.add(full, `references extension "${extension}" which is not configured`, {
          ...near(extension, [...components.extensions.keys()]),
        });
      else if (!enabled.some((name) => name.trim() === extension))
        found.add(full, `references extension "${extension}" which is not started`, {
          hint: `add ${extension} to service::extensions`,
        });
    }
}

function unusedWarnings(components: PlannedComponents, used: ReadonlySet<string>): string[] {
  return (Object.entries(components) as [string, AnyPlanned][]).flatMap(([section, planned]) =>
    [...planned.keys()]
      .filter((id) => !used.has(`${section}:${id}`))
      .map((id) =>
        section === "extensions"
          ? `${section}::${id} is configured and not started: it is missing in service::extensions`
          : `${section}::${id} is configured and not used in any pipeline`,
      ),
  );
}
