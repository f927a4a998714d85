import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import type { Signal } from "../../src/pdata/payload.ts";
import { countItems } from "../../src/pdata/validate.ts";
import { WireError } from "../../src/pdata/wire.ts";
import { anyRequest, encodeWithProtobufjs } from "../kit/otlp-arbitrary.ts";

const program = inject("peers")["pdata-verdicts"];

describe("the Collector's own unmarshaller", () => {
  if (program?.path === undefined) {
    it.skip(`is not asked: ${program?.skipped ?? "the build failed"}`, () => {});
    return;
  }
  const judge = (lines: string): string =>
    execFileSync(program.path ?? "", { input: lines, encoding: "utf8", maxBuffer: 256 * 2 ** 20 });

  it("says of test/fixtures/otlp/collector-verdicts.jsonl what is kept there", () => {
    const kept = readFileSync(new URL("../fixtures/otlp/collector-verdicts.jsonl", import.meta.url), "utf8");
    expect(judge(kept)).toBe(kept);
  });

  it.each<Signal>(["traces", "metrics", "logs"])("takes, counts and refuses fresh %s as countItems does", (signal) => {
    const requests = fc.sample(broken(signal), 2000);
    const lines = requests.map((bytes) => JSON.stringify({ signal, form: "proto", hex: bytes.toString("hex") }));
    const verdicts = judge(`${lines.join("\n")}\n`)
      .trim()
      .split("\n");
    const differing = verdicts.flatMap((line, i) => {
      const { error, items } = JSON.parse(line) as { error?: string; items: number };
      const theirs = error ?? items;
      const ours = verdictOf(signal, requests[i] ?? Buffer.alloc(0));
      return ours === theirs ? [] : [{ hex: requests[i]?.toString("hex"), ours, theirs }];
    });
    expect(differing).toEqual([]);
    expect(verdicts).toHaveLength(requests.length);
  });
});

/** A request in which up to three bytes are changed, added or taken away. */
function broken(signal: Signal): fc.Arbitrary<Buffer> {
  const change = fc.record({ at: fc.nat(), remove: fc.nat(3), add: fc.uint8Array({ maxLength: 3 }) });
  return fc.tuple(anyRequest(signal), fc.array(change, { maxLength: 3 })).map(([request, changes]) =>
    changes.reduce(
      (bytes, { at, remove, add }) => {
        const start = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, start), add, bytes.subarray(start + remove)]);
      },
      encodeWithProtobufjs(signal, request),
    ),
  );
}

function verdictOf(signal: Signal, bytes: Uint8Array): number | string {
  try {
    return countItems(signal, bytes);
  } catch (error) {
    if (error instanceof WireError) return error.message;
    throw error;
  }
}
