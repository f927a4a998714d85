/**
 * Configuration tree + factories -> a plan of what to run, or everything that is wrong with it. Nothing is created:
 * `validate` and `run` share this, so that what validates starts, ports and files aside.
 */
import { decodeNode } from "../config/decode.ts";
import { type ConfigNode, emptyMap, type MapNode, toPlain } from "../config/node.ts";
import type { Problem } from "../config/resolve.ts";
import { decodeSection } from "../config/schema.ts";
import { type ServiceConfig, serviceSchema } from "../config/service.ts";
import { closest } from "../config/suggest.ts";
import { type TelemetryConfig, telemetryWarnings } from "../config/telemetry.ts";
import type { AnyFactory, Configured } from "./api.ts";
import { checkPlan } from "./check.ts";
import { ConfigErrors } from "./errors.ts";
import type { Factories, Planned, PlannedComponents } from "./factories.ts";
import type { GraphNode, PipelineSpec } from "./graph.ts";
import { hintForUnknown } from "./hints.ts";
import { parseId } from "./id.ts";
import { ProblemList } from "./problems.ts";

/** A configuration that can be run. */
export interface Plan extends PlannedComponents {
  readonly pipelines: readonly PipelineSpec[];
  /** Nodes of all pipelines, senders before receivers. */
  readonly levels: readonly (readonly GraphNode[])[];
  /** Ids of the extensions to run, in the file's order. */
  readonly enabledExtensions: readonly string[];
  readonly telemetry: TelemetryConfig;
  /** The whole configuration with defaults filled in and secrets redacted. */
  readonly effective: Readonly<Record<string, unknown>>;
}

const SECTIONS = ["receivers", "processors", "exporters", "connectors", "extensions"] as const;
type SectionName = (typeof SECTIONS)[number];

/**
 * Decodes and checks everything.
 * @param broken paths whose value could not be read: what is said about them is not worth printing.
 * @returns the plan only when there is no problem.
 */
export function makePlan(
  root: ConfigNode,
  factories: Factories,
  broken: readonly (readonly string[])[] = [],
): { readonly plan?: Plan; readonly problems: readonly Problem[]; readonly warnings: readonly string[] } {
  const found = new ProblemList(root);
  const top: MapNode = root.kind === "map" ? root : emptyMap(root.at.source);
  for (const key of top.entries.keys())
    if (key !== "service" && !SECTIONS.includes(key as SectionName))
      found.add([key], `the configuration has invalid keys: ${key}`, { atKey: true, ...unknownKeyHint(key) });

  const components = {
    receivers: decodeComponents("receivers", factories.receivers, top, found),
    processors: decodeComponents("processors", factories.processors, top, found),
    exporters: decodeComponents("exporters", factories.exporters, top, found),
    connectors: decodeComponents("connectors", factories.connectors, top, found),
    extensions: decodeComponents("extensions", factories.extensions, top, found),
  };
  const service = decodeService(top, found);
  const checked = checkPlan({
    top,
    components,
    extensionTypes: factories.extensions.map(({ type }) => type),
    service: service?.config,
    lacksPipelines: service?.lacksPipelines ?? false,
    found,
  });
  const isUnderBroken = (problem: Problem): boolean =>
    broken.some((path) => path.every((step, index) => problem.path[index] === step));
  const problems = found.sorted().filter((problem) => !isUnderBroken(problem));
  if (problems.length > 0 || broken.length > 0 || !checked || !service)
    return { problems, warnings: checked?.warnings ?? [] };

  const plan: Plan = {
    ...components,
    pipelines: checked.pipelines,
    levels: checked.levels,
    enabledExtensions: [...new Set(service.config.extensions.map((id) => id.trim()))],
    telemetry: service.config.telemetry,
    effective: effectiveOf(components, service.effective),
  };
  return { plan, problems, warnings: [...checked.warnings, ...telemetryWarnings(plan.telemetry)] };
}

function unknownKeyHint(key: string): { hint: string } {
  const known = [...SECTIONS, "service"];
  const near = closest(key, known);
  return { hint: near ? `did you mean \`${near}\`?` : `known keys: ${known.join(", ")}` };
}

function effectiveOf(components: PlannedComponents, service: unknown): Readonly<Record<string, unknown>> {
  const sections = SECTIONS.filter((name) => components[name].size > 0).map((name) => [
    name,
    Object.fromEntries(
      [...(components[name] as ReadonlyMap<string, { configured: Configured<unknown> }>)].map(
        ([id, { configured }]) => [id, configured.effective],
      ),
    ),
  ]);
  return Object.fromEntries([...sections, ["service", service]]);
}

interface DecodedService {
  readonly config: ServiceConfig;
  readonly effective: unknown;
  readonly lacksPipelines: boolean;
}

/** A service section with mistakes is decoded without the parts that have them, so that the rest is checked too. */
function decodeService(top: MapNode, found: ProblemList): DecodedService | undefined {
  const node = top.entries.get("service")?.node ?? emptyMap(top.at.source);
  const decode = (from: ConfigNode) => decodeNode(from, (value) => decodeSection(serviceSchema, value));
  try {
    return { ...decode(node), lacksPipelines: false };
  } catch (error) {
    addConfigErrors(error, ["service"], found);
    const paths = (error as ConfigErrors).issues.map(({ path }) => path);
    // Which extensions run is then not known, and much depends on it.
    if (paths.some(([part]) => part === "extensions")) return undefined;
    const sound = paths.reduce(withoutPart, node);
    try {
      return { ...decode(sound), lacksPipelines: paths.some(([part]) => part !== "telemetry") };
    } catch {
      return undefined;
    }
  }
}

/** `node` less the pipeline, or else the key of `service`, that `path` leads into. */
function withoutPart(node: ConfigNode, [part, ...rest]: readonly string[]): ConfigNode {
  if (node.kind !== "map" || part === undefined) return node;
  const entries = new Map(node.entries);
  const entry = entries.get(part);
  if (part === "pipelines" && entry?.node.kind === "map" && rest.length > 0)
    entries.set(part, { ...entry, node: withoutPart(entry.node, rest) });
  else entries.delete(part);
  return { ...node, entries };
}

function addConfigErrors(error: unknown, prefix: readonly string[], found: ProblemList): void {
  if (!(error instanceof ConfigErrors)) throw error;
  for (const { path, message, hint, atKey } of error.issues)
    found.add([...prefix, ...path], message.replace(/^'' has/, `'${prefix.at(-1)}' has`), {
      ...(hint ? { hint } : {}),
      ...(atKey ? { atKey } : {}),
    });
}

function decodeComponents<F extends AnyFactory>(
  name: SectionName,
  factories: readonly F[],
  top: MapNode,
  found: ProblemList,
): ReadonlyMap<string, Planned<F>> {
  const planned = new Map<string, Planned<F>>();
  const node = top.entries.get(name)?.node;
  if (!node || (node.kind === "scalar" && node.value === null)) return planned;
  if (node.kind !== "map") {
    found.add([name], `expected a map of component ids, got a ${node.kind === "list" ? "list" : "single value"}`);
    return planned;
  }
  const seen = new Map<string, string>();
  for (const [written, entry] of node.entries) {
    const id = parseId(written);
    if (typeof id === "string") {
      found.add([name, written], id, { atKey: true, hint: "write type or type/name, such as otlp or otlp/edge" });
      continue;
    }
    const twin = seen.get(JSON.stringify(id));
    seen.set(JSON.stringify(id), written);
    if (twin !== undefined) {
      found.add([name, written], `duplicate name "${written}" after unmarshaling ${twin}`, { atKey: true });
      continue;
    }
    const factory = factories.find((candidate) => candidate.type === id.type || candidate.aliases?.includes(id.type));
    if (!factory) {
      found.add([name, written], unknownType(id.type, written, factories), {
        atKey: true,
        ...unknownTypeHint(name, id.type, factories),
      });
      continue;
    }
    const fingerprint = JSON.stringify([factory.type, toPlain(entry.node)]);
    try {
      const configured = decodeNode(entry.node, (value) => factory.configure(value)) as Planned<F>["configured"];
      planned.set(written.trim(), { id, factory, fingerprint, configured });
    } catch (error) {
      addConfigErrors(error, [name, written], found);
      planned.set(written.trim(), { id, factory, fingerprint, configured: UNUSABLE as Planned<F>["configured"] });
    }
  }
  return planned;
}

/** Stands in for a section that was refused, so that references to it are not reported as dangling too. */
const UNUSABLE: Configured<never> = {
  effective: null,
  create() {
    throw new Error("a component without a valid configuration cannot be created");
  },
};

function typesOf(factories: readonly AnyFactory[]): string[] {
  return factories.flatMap((factory) => [factory.type, ...(factory.aliases ?? [])]).sort();
}

function unknownType(type: string, id: string, factories: readonly AnyFactory[]): string {
  return `unknown type: "${type}" for id: "${id}" (valid values: [${typesOf(factories).join(" ")}])`;
}

function unknownTypeHint(name: SectionName, type: string, factories: readonly AnyFactory[]): { hint?: string } {
  const special = hintForUnknown(name, type);
  if (special) return { hint: special };
  const near = closest(type, typesOf(factories));
  return near ? { hint: `did you mean \`${near}\`?` } : {};
}
