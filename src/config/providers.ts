/** Where configuration text comes from: the Collector's env, file and yaml providers (confmap/provider). */
import { open } from "node:fs/promises";
import { normalize } from "node:path";
import type { ConfigNode, Span } from "./node.ts";
import { parseYaml, type SyntaxIssue } from "./parse.ts";

/** What is outside of the program; tests give their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @throws an Error with a message that names the cause, not the file. */
  readText(path: string): Promise<string>;
}

/** The largest configuration file, in bytes. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** The process's environment and files. */
export const processSurroundings: Surroundings = {
  env: process.env,
  async readText(path) {
    const file = await open(path).catch((error: NodeJS.ErrnoException) => {
      throw new Error(FILE_PROBLEMS[error.code ?? ""] ?? error.message);
    });
    try {
      const chunks: Buffer[] = [];
      let size = 0;
      for (;;) {
        const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(65_536) });
        if (bytesRead === 0) return Buffer.concat(chunks).toString("utf8");
        size += bytesRead;
        if (size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes: not a configuration file`);
        chunks.push(buffer.subarray(0, bytesRead));
      }
    } catch (error) {
      const { code = "", message } = error as NodeJS.ErrnoException;
      throw new Error(FILE_PROBLEMS[code] ?? message);
    } finally {
      await file.close();
    }
  },
};

const FILE_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EISDIR: "is a directory",
  ENOTDIR: "not a directory",
};

/** `env:X`, `file:/etc/otel.yml`, `yaml:a: 1`. */
export interface Location {
  readonly scheme: string;
  readonly rest: string;
}

/** The schemes this build reads. */
export const SCHEMES: readonly string[] = ["env", "file", "yaml"];

/** Reads `scheme:rest`; undefined when it is not one. */
export function parseLocation(uri: string): Location | undefined {
  const match = /^([A-Za-z][A-Za-z0-9+.-]+):(.*)$/s.exec(uri);
  return match ? { scheme: match[1] ?? "", rest: match[2] ?? "" } : undefined;
}

/** What a location holds. */
export interface Retrieved {
  /** The text as it is. */
  readonly text: string;
  /** The text as YAML; a string, `text` itself, when it is none or when it means a string. */
  readonly root: ConfigNode;
  /** Why the text is not YAML, if it is not. */
  readonly issues: readonly SyntaxIssue[];
  /** Something the operator should know. */
  readonly warning?: string;
}

const VARIABLE = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * Reads one location.
 * @param name how errors call the source.
 * @throws Error with the Collector's words.
 */
export async function retrieve(location: Location, name: string, around: Surroundings): Promise<Retrieved> {
  const { scheme, rest } = location;
  if (scheme === "file") {
    const path = normalize(rest);
    const text = await around.readText(path).catch((error: Error) => {
      throw new Error(`unable to read the file file:${rest}: open ${path}: ${error.message}`);
    });
    return fromText(text, name);
  }
  if (scheme === "yaml") return fromText(rest, name);
  if (scheme === "env") return fromVariable(rest, name, around);
  throw new Error(`scheme "${scheme}" is not supported for uri "${scheme}:${rest}"`);
}

function fromVariable(rest: string, name: string, around: Surroundings): Retrieved {
  const cut = rest.indexOf(":-");
  const variable = cut < 0 ? rest : rest.slice(0, cut);
  if (!VARIABLE.test(variable))
    throw new Error(`environment variable "${variable}" has invalid name: must match regex ${VARIABLE.source}`);
  const value = Object.hasOwn(around.env, variable) ? around.env[variable] : undefined;
  if (value !== undefined) return fromText(value, name);
  if (cut >= 0) return fromText(rest.slice(cut + 2), name);
  return { ...fromText("", name), warning: `Configuration references unset environment variable ${variable}` };
}

/** confmap.NewRetrievedFromYAML: what means a string, and what is not YAML, is taken word for word, quotes included. */
function fromText(text: string, name: string): Retrieved {
  const source = { name, text };
  const { root, issues } = parseYaml(source);
  const at: Span = { source, start: 0, end: text.length };
  if (issues.length > 0 || (root.kind === "scalar" && typeof root.value === "string"))
    return { text, root: { kind: "scalar", value: text, at }, issues };
  return { text, root, issues };
}
