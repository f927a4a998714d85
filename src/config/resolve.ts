/** `--config` and `--set` -> one expanded configuration tree (confmap/resolver.go). */
import { expandTree } from "./expand.ts";
import { type ConfigNode, DELIMITER, emptyMap, mergeNodes, type Source, type Span } from "./node.ts";
import { type Location, parseLocation, retrieve, SCHEMES, type Surroundings } from "./providers.ts";

/** Where the configuration is. */
export interface Locations {
  /** Paths, URIs (`file:`, `env:`, `yaml:`) or texts with a name; of what two of them say, the later one counts. */
  readonly configs: readonly (string | Source)[];
  /** `a::b=value` or `a.b=value`; stronger than every file, the value read as YAML. */
  readonly sets: readonly string[];
}

/** Something that is wrong, and where. */
export interface Problem {
  /** Key path from the root of the configuration; [] where it is about all of it. */
  readonly path: readonly string[];
  /** Found and wanted, in the Collector's words where it has some. */
  readonly message: string;
  /** What to do. */
  readonly hint?: string;
  /** What to show; absent when no text of the configuration is about it. */
  readonly at?: Span;
}

/** The configuration as it will be decoded. */
export interface Resolved {
  readonly root: ConfigNode;
  /** When `unreadable`, the root lacks what could not be read and must not be judged. */
  readonly problems: readonly Problem[];
  readonly unreadable: boolean;
  readonly warnings: readonly string[];
}

/** Characters of YAML on the command line that serve as its name. */
const INLINE_LENGTH = 40;

/** Reads, merges and expands; never throws for what the configuration says. */
export async function resolveConfig(locations: Locations, around: Surroundings): Promise<Resolved> {
  const problems: Problem[] = [];
  const warnings = new Set<string>();
  let merged: ConfigNode = emptyMap({ name: "configuration", text: "" });
  const sources = [
    ...locations.configs.map((config) =>
      typeof config === "string"
        ? { name: nameOf(config), location: configLocation(config) }
        : { name: config.name, location: { scheme: "yaml", rest: config.text } },
    ),
    ...locations.sets.map((text) => ({ name: `--set ${text}`, location: setLocation(text) })),
  ];
  for (const { name, location } of sources) {
    const part = typeof location === "string" ? location : await read(location, name, around, problems, warnings);
    if (typeof part === "string") problems.push({ path: [], message: part });
    else if (part) merged = mergeNodes(merged, part);
  }
  if (problems.length > 0) return { root: merged, problems, unreadable: true, warnings: [...warnings] };
  const expanded = await expandTree(merged, around);
  return {
    root: expanded.root,
    problems: expanded.issues,
    unreadable: false,
    warnings: [...warnings, ...expanded.warnings],
  };
}

/** How messages call a location: the path of a file; of YAML on the command line its beginning. */
function nameOf(uri: string): string {
  if (!uri.startsWith("yaml:")) return uri.replace(/^file:/, "");
  const [line = ""] = uri.split("\n", 1);
  return line === uri && line.length <= INLINE_LENGTH ? uri : `${line.slice(0, INLINE_LENGTH)}…`;
}

function configLocation(uri: string): Location | string {
  // "^[A-z]:" is a drive letter.
  if (!uri.includes(":") || /^[A-Za-z]:/.test(uri)) return { scheme: "file", rest: uri };
  const location = parseLocation(uri);
  if (!location) return `invalid uri: "${uri}"`;
  if (SCHEMES.includes(location.scheme)) return location;
  return `unsupported scheme on URI "${uri}": this build reads ${SCHEMES.map((scheme) => `${scheme}:`).join(", ")}`;
}

function setLocation(text: string): Location | string {
  const equals = text.indexOf("=");
  if (equals < 0) return `invalid argument "${text}" for "--set" flag: missing equal sign, write --set key::key=value`;
  const key = text.slice(0, equals).replaceAll(".", DELIMITER).trim();
  return { scheme: "yaml", rest: `${key}: ${text.slice(equals + 1).trim()}` };
}

/** A map, undefined for an empty text or when the problem is noted, or a string that says what is wrong with all of it. */
async function read(
  location: Location,
  name: string,
  around: Surroundings,
  problems: Problem[],
  warnings: Set<string>,
): Promise<ConfigNode | string | undefined> {
  try {
    const { root, issues, warning } = await retrieve(location, name, around);
    if (warning) warnings.add(warning);
    if (issues.length > 0) {
      problems.push(...issues.map(({ at, message }) => ({ path: [], at, message: `not valid YAML: ${message}` })));
      return undefined;
    }
    if (root.kind === "map") return root;
    if (root.kind === "scalar" && root.value === null) return undefined;
    return `${name}: retrieved value (a ${root.kind === "list" ? "list" : "scalar"}) cannot be used as a configuration: the top level must be a map with receivers, exporters and service`;
  } catch (error) {
    return `cannot retrieve the configuration: ${(error as Error).message}`;
  }
}
