import { createHash } from "node:crypto";

/** A file name may be 255 bytes long. */
const LONGEST_NAME = 200;

/**
 * "exporter.otlp_grpc.edge.traces": a folder name for these parts that no other parts have, whatever characters they are
 * made of. A name that would be too long keeps its first part and a hash.
 */
export function folderName(first: string, ...rest: readonly string[]): string {
  const name = [first, ...rest].map((part) => encodeURIComponent(part).replaceAll(".", "%2E")).join(".");
  return name.length <= LONGEST_NAME ? name : `${first}.${createHash("sha256").update(name).digest("hex")}`;
}
