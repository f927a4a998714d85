import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { toPlain } from "./node.ts";
import { parseYaml } from "./parse.ts";

interface Row {
  readonly text: string;
  readonly type: "null" | "bool" | "int" | "float" | "string" | "timestamp" | "error";
  readonly value?: string | boolean;
}

/** See test/fixtures/config/README.md. */
const rows = JSON.parse(
  readFileSync(new URL("../../test/fixtures/config/scalars.json", import.meta.url), "utf8"),
) as Row[];

function expectedValue(row: Row): unknown {
  const special: Readonly<Record<string, number>> = { "+Inf": Number.POSITIVE_INFINITY, "-Inf": -Infinity, NaN };
  if (row.type === "null") return null;
  if (row.type === "int" || row.type === "float") return special[String(row.value)] ?? Number(row.value);
  return row.type === "timestamp" ? row.text : row.value;
}

describe("scalars", () => {
  it.each(rows)("resolve as the Collector's reader does when the file says v: $text", (row) => {
    const { root, issues } = parseYaml({ name: "t", text: `v: ${row.text}\n` });
    if (row.type === "error") expect(issues).not.toEqual([]);
    else {
      expect(issues).toEqual([]);
      const { v } = toPlain(root) as { v: unknown };
      // -0 is no integer in Go.
      expect(typeof v === "number" ? v + 0 : v).toEqual(expectedValue(row));
    }
  });
});
