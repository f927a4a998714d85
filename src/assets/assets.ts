/**
 * The files that are part of the program beside its code: `proto/`, `demo/capture/` and `package.json`. They lie at the
 * package's root, or, in the single executable (`npm run build:binary`), inside of it. Nothing else in src/ asks where it is
 * installed.
 */
import { readFileSync } from "node:fs";
import { getAsset, isSea } from "node:sea";
import { fileURLToPath } from "node:url";

/**
 * One file of the program.
 * @param path from the package's root, with `/`: "proto/opentelemetry/proto/trace/v1/trace.proto".
 * @throws an error that names the file when the installation is not whole.
 */
export function readAsset(path: string): Buffer {
  if (!isSea()) return readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)));
  try {
    return Buffer.from(getAsset(path));
  } catch (error) {
    throw new Error(`${path} is not inside this executable`, { cause: error });
  }
}

/** The same as text. */
export function readTextAsset(path: string): string {
  return readAsset(path).toString("utf8");
}
