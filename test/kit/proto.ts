import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const folder = fileURLToPath(new URL("../../proto/", import.meta.url));

/** Paths of all files in proto/, as they import each other. */
export function protoFiles(): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".proto"))
    .map((path) => path.replaceAll("\\", "/"))
    .sort();
}

/** The text of one of these files. */
export function protoText(path: string): string {
  return readFileSync(join(folder, path), "utf8");
}

/**
 * All of proto/ in one root of protobufjs, read from these files only (the library's own google/protobuf/*.proto stay
 * out). Field names as written with `keepCase`, else lowerCamelCase.
 */
export function protoRoot(keepCase = false): protobuf.Root {
  const root = new protobuf.Root();
  // The parser notes in every object which file it is from; its typings leave this property out.
  const parser = protobuf.parse as typeof protobuf.parse & { filename: string | null };
  for (const path of protoFiles()) {
    parser.filename = path;
    protobuf.parse(protoText(path), root, { keepCase });
  }
  parser.filename = null;
  root.resolveAll();
  return root;
}
