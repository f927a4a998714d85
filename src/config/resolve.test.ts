import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConfigNode, nodeAt, toPlain } from "./node.ts";
import { processSurroundings, type Surroundings } from "./providers.ts";
import { resolveConfig } from "./resolve.ts";

interface Case {
  readonly name: string;
  readonly uris: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly result?: unknown;
  readonly as_string?: string;
  readonly error?: string;
}

/** See test/fixtures/config/README.md. */
const folder = new URL("../../test/fixtures/config/resolve/", import.meta.url);
const cases = JSON.parse(readFileSync(new URL("cases.json", folder), "utf8")) as Case[];

/** Where this program differs on purpose: more is said, or keys of any scalar type are text. */
const differences: Readonly<Record<string, string | { result: unknown }>> = {
  "number and bool keys": { result: { "1": "a", true: "b", yes: "c", "": "d", "1.5": "e", "8": "f" } },
  "not a map": "cannot be used as a configuration: the top level must be a map",
  "not a map scalar": "cannot be used as a configuration: the top level must be a map",
  "not yaml": "not valid YAML: Flow sequence in block collection",
  "duplicate key": 'mapping key "a" already defined at line 1',
};

function around(env: Readonly<Record<string, string>> = {}): Surroundings {
  return { env, readText: (path) => processSurroundings.readText(fileURLToPath(new URL(path, folder))) };
}

/** What a field of type string gets. */
function asString(node: ConfigNode | undefined): unknown {
  return node?.original ?? (node?.kind === "scalar" ? node.value : undefined);
}

const resolveYaml = (text: string, env: Readonly<Record<string, string>> = {}, sets: readonly string[] = []) =>
  resolveConfig({ configs: [`yaml:${text}`], sets }, around(env));

describe("resolveConfig", () => {
  it.each(cases)("gives what the Collector gives: $name", async (given) => {
    const { root, problems } = await resolveConfig({ configs: given.uris, sets: [] }, around(given.env));
    const differs = differences[given.name];
    if (typeof differs === "string" || (given.error !== undefined && differs === undefined)) {
      const [problem] = problems;
      // The Collector says all of it in one line.
      expect(problem?.message.replace(/open \/.*\/resolve\//, "open ")).toContain(
        typeof differs === "string" ? differs : given.error?.replace(/open inc/, "open inc"),
      );
      return;
    }
    expect(problems).toEqual([]);
    expect(toPlain(root)).toEqual(differs?.result ?? given.result);
    if (given.as_string !== undefined) expect(asString(nodeAt(root, ["v"]))).toBe(given.as_string);
  });

  it("names the unset variable when a reference has no default", async () => {
    const { warnings } = await resolveYaml("v: ${env:NOPE}\nw: ${NOPE}\nx: ${env:NOPE:-1}");
    expect(warnings).toEqual(["Configuration references unset environment variable NOPE"]);
  });

  it("says that $X is not expanded when such a variable exists", async () => {
    const { root, warnings } = await resolveYaml("v: a$HOME\nw: pa$$HOME\nx: $OTHER", { HOME: "/root" });
    expect(toPlain(root)).toEqual({ v: "a$HOME", w: "pa$HOME", x: "$OTHER" });
    expect(warnings).toEqual([
      "$HOME in the configuration is taken as it is, not as the environment variable of that name: write ${env:HOME}",
    ]);
  });

  it("reports every reference that cannot be expanded, with its path and place", async () => {
    const { problems } = await resolveYaml(
      "a: {b: '${file:inc/nope.yml}'}\nc: ['${HOST:-d}', '${vault:k}', '${X:-d}']",
    );
    expect(problems.map(({ path, message, hint }) => [path.join("::"), message, hint])).toEqual([
      ["a::b", "unable to read the file file:inc/nope.yml: open inc/nope.yml: no such file or directory", undefined],
      ["c::0", 'scheme "HOST" is not supported for uri "HOST:-d"', "a default needs the scheme: ${env:HOST:-d}"],
      ["c::1", 'scheme "vault" is not supported for uri "vault:k"', "known schemes: env, file, yaml"],
      ["c::2", 'invalid uri: "X:-d"', "a default needs the scheme: ${env:X:-d}"],
    ]);
    expect(problems[1]?.at?.source.text.slice(problems[1].at.start, problems[1].at.end)).toBe("'${HOST:-d}'");
  });

  it("reports every file that cannot be read", async () => {
    const { problems, unreadable } = await resolveConfig(
      { configs: ["inc/nope.yml", "file:inc/broken.yml", "inc"], sets: ["novalue"] },
      around(),
    );
    expect(unreadable).toBe(true);
    expect(problems.map((problem) => problem.message)).toEqual([
      "cannot retrieve the configuration: unable to read the file file:inc/nope.yml: open inc/nope.yml: no such file or directory",
      expect.stringContaining("not valid YAML: "),
      "cannot retrieve the configuration: unable to read the file file:inc: open inc: is a directory",
      'invalid argument "novalue" for "--set" flag: missing equal sign, write --set key::key=value',
    ]);
  });

  it("points into the file that is put in when the problem is there", async () => {
    const { root } = await resolveYaml("v: ${file:inc/map.yml}\nw: ${env:A}", { A: "{k: secret}" });
    expect(nodeAt(root, ["v", "b", "1"])?.at).toMatchObject({ source: { name: "inc/map.yml" }, start: 12 });
    expect(nodeAt(root, ["w", "k"])?.at.source.text).toContain("w: ${env:A}");
  });

  it("stops when values grow without end", async () => {
    const env = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`E${i}`, `\${env:E${i + 1}}\${env:E${i + 1}}`]),
    );
    const { problems } = await resolveYaml('v: "x${env:E0}"', { ...env, E40: "long enough" });
    expect(problems[0]?.message).toMatch(/the expanded value is longer than|too many recursive expansions/);
  });

  it("stops when aliases multiply", async () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 9; i++)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(", ")}]`,
      );
    const { problems } = await resolveYaml(lines.join("\n"));
    expect(problems[0]?.message).toBe("not valid YAML: excessive aliasing");
  });

  it("stops when an anchor contains itself", async () => {
    const { problems } = await resolveYaml("a: &a {b: *a}");
    expect(problems[0]?.message).toContain("an anchor contains itself");
  });

  it("lets --set win over every file, with dots or double colons, and reads its value as YAML", async () => {
    const { root } = await resolveYaml("a: {b: {c: 1, d: 2}, l: [1]}", {}, [
      "a.b.c=0x10",
      "a::l=[x, 'y=z']",
      "e::f=a=b",
    ]);
    expect(toPlain(root)).toEqual({ a: { b: { c: 16, d: 2 }, l: ["x", "y=z"] }, e: { f: "a=b" } });
  });

  it("keeps values without references as they are, whatever they are", async () => {
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: "small" },
        fc.string().filter((text) => !text.includes("$")),
        fc.boolean(),
        fc.constant(null),
        fc.integer(),
        fc.array(tie("node"), { maxLength: 3 }),
        fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), tie("node"), { maxKeys: 3 }),
      ),
    })).node;
    await fc.assert(
      // JSON is YAML.
      fc.asyncProperty(fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), value), async (map) => {
        const { root, problems } = await resolveYaml(JSON.stringify(map));
        expect(problems).toEqual([]);
        expect(JSON.parse(JSON.stringify(toPlain(root)))).toEqual(JSON.parse(JSON.stringify(map)));
      }),
      { numRuns: 300 },
    );
  });
});
