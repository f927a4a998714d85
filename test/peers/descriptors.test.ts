import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, inject, it } from "vitest";

const python = inject("peers")["python"];

interface Descriptors {
  readonly files: Readonly<Record<string, unknown>>;
}

/** Not grpc/health: its package of this version needs another protobuf, and has calls that this repo does not serve. */
const ours = ({ files }: Descriptors): Record<string, unknown> =>
  Object.fromEntries(Object.entries(files).filter(([path]) => !path.startsWith("grpc/")));

describe("test/fixtures/otlp/official-descriptors.json, which test/conformance holds proto/ against,", () => {
  if (python?.path === undefined) {
    it.skip(`is not compared with the packages: ${python?.skipped ?? "the build failed"}`, () => {});
    return;
  }
  it("is what the installed packages say", () => {
    const script = new URL("proto-descriptors.py", import.meta.url).pathname;
    const official = JSON.parse(
      execFileSync(python.path ?? "", [script], { encoding: "utf8", maxBuffer: 16 * 2 ** 20 }),
    ) as Descriptors;
    const kept = JSON.parse(
      readFileSync(new URL("../fixtures/otlp/official-descriptors.json", import.meta.url), "utf8"),
    ) as Descriptors;
    expect(Object.keys(ours(kept)).length).toBeGreaterThan(8);
    expect(ours(kept)).toEqual(ours(official));
  });
});
