import { describe, expect, it } from "vitest";
import { locate } from "./node.ts";
import { processSurroundings } from "./providers.ts";
import { formatProblem, formatProblems, positionOf } from "./report.ts";
import { resolveConfig } from "./resolve.ts";

async function at(text: string, path: readonly string[], atKey = false) {
  const { root } = await resolveConfig({ configs: [`yaml:${text}`], sets: [] }, processSurroundings);
  const span = locate(root, path, atKey);
  if (!span) throw new Error(`nothing at ${path.join("::")}`);
  return { ...span, source: { ...span.source, name: "otel.yml" } };
}

const FILE = `service:
  pipelines:
    traces:
      exporters: [otlp, nope]
      # comment
      procesors:
`;

describe("formatProblem", () => {
  it("points at the value when the path has one", async () => {
    const span = await at(FILE, ["service", "pipelines", "traces", "exporters", "1"]);
    expect(
      formatProblem({ path: ["service", "pipelines", "traces"], message: "not configured", at: span, hint: "do that" }),
    ).toBe(`service::pipelines::traces: not configured
  --> otel.yml:4:25
   |
 4 |       exporters: [otlp, nope]
   |                         ^^^^
   = do that`);
  });

  it("points at the key when the problem is the key, or when there is no value to see", async () => {
    expect(positionOf(await at(FILE, ["service", "pipelines", "traces", "procesors"], true))).toEqual({
      line: 6,
      column: 7,
    });
    expect(positionOf(await at(FILE, ["service", "pipelines", "traces", "procesors"]))).toEqual({ line: 6, column: 7 });
    expect(positionOf(await at(FILE, ["service", "pipelines", "traces"]))).toEqual({ line: 3, column: 5 });
  });

  it("points at the nearest key above when the path is missing", async () => {
    expect(positionOf(await at(FILE, ["service", "pipelines", "traces", "receivers", "0"]))).toEqual({
      line: 3,
      column: 5,
    });
  });

  it("keeps tabs and counts characters when the line has both", async () => {
    const span = await at('a: {\t"💥é": 1}\n', ["a", "💥é"]);
    const [, where, , line, marks] = formatProblem({ path: [], message: "m", at: span }).split("\n");
    expect(where).toBe("  --> otel.yml:1:12");
    expect(line).toContain("\t");
    // A terminal gives the emoji two columns, as many as it has UTF-16 units.
    expect(marks).toBe(`   |     \t${" ".repeat(7)}^`);
  });

  it("cuts the line when it is long", async () => {
    const span = await at(`a: [${"x, ".repeat(200)}here, ${"y, ".repeat(200)}z]`, ["a", "200"]);
    const [, where, , line = "", marks = ""] = formatProblem({ path: [], message: "m", at: span }).split("\n");
    expect(where).toBe("  --> otel.yml:1:605");
    expect(line.length).toBeLessThan(120);
    expect(line.slice(marks.indexOf("^"), marks.lastIndexOf("^") + 1)).toBe("here");
  });

  it("shows no terminal codes of the file", async () => {
    const text = "a: \u001b[31mred\u0007";
    const shown = formatProblem({ path: [], message: "m", at: { source: { name: "f", text }, start: 3, end: 4 } });
    expect(shown).not.toContain("\u001b");
  });
});

describe("formatProblems", () => {
  it("prints one line when one problem has neither place nor hint", () => {
    expect(formatProblems([{ path: [], message: "empty configuration file" }])).toBe("Error: empty configuration file");
  });

  it("counts the problems when there are several", () => {
    const text = formatProblems([
      { path: ["a"], message: "x" },
      { path: [], message: "y", hint: "z" },
    ]);
    expect(text).toBe("Error: a: x\n\nError: y\n  = z\n\n2 problems in the configuration");
  });
});
