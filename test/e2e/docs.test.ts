import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { factories } from "../../src/components.ts";
import { requestMergeConnectorFactory } from "../../src/connectors/requestmerge/factory.ts";
import type { AnyFactory } from "../../src/kernel/api.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

function text(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Every Markdown file of the repository, by path. */
function documents(): string[] {
  const inside = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true, recursive: true }).flatMap((entry) =>
      entry.isFile() && entry.name.endsWith(".md") ? [relative(root, join(entry.parentPath, entry.name))] : [],
    );
  return [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    ...inside("docs"),
    ...inside("src"),
    ...inside("demo"),
    ...inside("deploy"),
  ];
}

/** GitHub's anchor of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

describe("documents", () => {
  it.each(documents())("%s links only to files and headings that exist", (path) => {
    const prose = text(path).replaceAll(/```[\s\S]*?```/g, "");
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? "");
    for (const link of links.filter((target) => !/^[a-z]+:/.test(target))) {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? path : relative(root, join(root, dirname(path), file));
      expect(existsSync(join(root, target)), `${path} links to ${link}`).toBe(true);
      if (anchor === undefined) continue;
      const headings = [...text(target).matchAll(/^#+ (.*)$/gm)].map((match) => anchorOf(match[1] ?? ""));
      expect(headings, `${path} links to ${link}`).toContain(anchor);
    }
  });

  it.each(documents())("%s names no folder of a developer's machine", (path) => {
    expect(text(path)).not.toMatch(/\/(?:work|home|root|Users)\//);
  });
});

describe("CONTRIBUTING.md", () => {
  it("CONTRIBUTING.md says of every dependency why it earns its place, and of nothing else", () => {
    const manifest = JSON.parse(text("package.json")) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const rows = [...text("CONTRIBUTING.md").matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)].map((match) => match[1] ?? "");
    const isDependency = (name: string): boolean => name in manifest.dependencies || name in manifest.devDependencies;
    expect(rows.filter(isDependency).sort()).toEqual(
      [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)].sort(),
    );
    expect(rows.filter((name) => !isDependency(name))).toEqual([]);
  });

  it("CONTRIBUTING.md names only test folders that exist", () => {
    const folders = [...text("CONTRIBUTING.md").matchAll(/`(test\/[a-z]+)`/g)].map((match) => match[1] ?? "");
    expect(folders.length).toBeGreaterThan(3);
    for (const folder of folders) expect(existsSync(join(root, folder)), folder).toBe(true);
  });
});

describe("README.md", () => {
  const readme = text("README.md");

  it("README.md lists every component of the build and no other", () => {
    const table = /\| component \|[\s\S]*?\n\n/.exec(readme)?.[0] ?? "";
    const listed = [...table.matchAll(/^\| ([a-z ]+) `([a-z_]+)`(?: \(alias `([a-z_]+)`\))?/gm)].flatMap(
      ([, kinds = "", type = "", alias]) =>
        kinds
          .split(" and ")
          .flatMap((kind) => [`${kind} ${type}`, ...(alias === undefined ? [] : [`${kind} ${alias}`])]),
    );
    const built = Object.values(factories).flatMap((kind: readonly AnyFactory[]) =>
      kind.flatMap((factory) => [factory.type, ...(factory.aliases ?? [])].map((type) => `${factory.kind} ${type}`)),
    );
    expect(listed.sort()).toEqual(built.sort());
  });

  it("README.md lists the keys and defaults of request_merge as they are", () => {
    const { effective } = requestMergeConnectorFactory.configure({});
    const table = /### request_merge\n([\s\S]*?)\n###/.exec(readme)?.[1] ?? "";
    const listed = new Map<string, string>();
    for (const [, keys = "", defaults = ""] of table.matchAll(/^\| (`[^|]*`) \| (`[^|]*`) \|/gm)) {
      const names = [...keys.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
      const values = [...defaults.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
      for (const [index, name] of names.entries()) listed.set(name, values[index] ?? values[0] ?? "");
    }
    expect(Object.fromEntries(listed)).toEqual(flat(effective));
  });

  it("README.md names every attribute that the merge puts on a root", () => {
    const sources = ["derive", "merge", "trace-writer", "bottleneck"]
      .map((name) => text(`src/omni/${name}.ts`))
      .join("\n");
    const keys = new Set(
      [...sources.matchAll(/"((?:omni|http|url|client|gen_ai)\.[a-z_.]+)"/g)].map((match) => match[1] ?? ""),
    );
    const isListed = (key: string): boolean =>
      readme.includes(`\`${key}\``) || (key.startsWith("gen_ai.usage.") && readme.includes("`gen_ai.usage.*`"));
    expect(keys.size).toBeGreaterThan(15);
    expect([...keys].filter((key) => !isListed(key))).toEqual([]);
  });
});

/** `{remember: {time: "15m"}}` -> `{"remember::time": "15m"}`, values as a reader would write them. */
function flat(value: unknown, path: readonly string[] = []): Record<string, string> {
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0)
    return { [path.join("::")]: typeof value === "object" ? "{}" : String(value).replace(/(?<=[hm])0[ms]/g, "") };
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, [...path, key])));
}
