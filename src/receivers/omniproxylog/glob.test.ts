import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeGlob, matchesGlob, parseGlob } from "./glob.ts";

function matches(pattern: string, path: string, folder = "/opt/shim"): boolean {
  const globs = parseGlob(pattern, folder);
  if (typeof globs === "string") throw new Error(globs);
  return globs.some((glob) => matchesGlob(glob, path));
}

describe("parseGlob", () => {
  it.each([
    ["/log/error.log", "/log/error.log", true],
    ["/log/error.log", "/log/error.log.1", false],
    ["/log/*.log", "/log/a.log", true],
    ["/log/*.log", "/log/.hidden.log", true],
    ["/log/*.log", "/log/sub/a.log", false],
    ["/log/*.log", "/log/aXlog", false],
    ["/log/*", "/log", false],
    ["/log/?.log", "/log/中.log", true],
    ["/log/?.log", "/log/ab.log", false],
    ["/log/**/a.log", "/log/a.log", true],
    ["/log/**/a.log", "/log/x/y/a.log", true],
    ["/log/**/a.log", "/logs/a.log", false],
    ["/log/**", "/log/x/y", true],
    ["/**/*.log", "/a.log", true],
    ["/log/x**y", "/log/x1y", true],
    ["/log/x**y", "/log/x/y", false],
    ["/log/[a-c]1", "/log/b1", true],
    ["/log/[!a-c]1", "/log/b1", false],
    ["/log/[^a-c]1", "/log/d1", true],
    ["/log/[]a]1", "/log/]1", true],
    ["/log/[a\\-c]1", "/log/b1", false],
    ["/log/[a\\-c]1", "/log/-1", true],
    ["/log/{a,b}.log", "/log/b.log", true],
    ["/log/{a,b}.log", "/log/c.log", false],
    ["/{log,var/{x,y}}/a", "/var/y/a", true],
    ["/log/{a,}b", "/log/b", true],
    ["/log/\\*", "/log/*", true],
    ["/log/\\*", "/log/x", false],
    ["/log/a+(b).log", "/log/a+(b).log", true],
    ["/log//./x/../a.log", "/log/a.log", true],
    ["a.log", "/opt/shim/a.log", true],
    ["../*.log", "/opt/b.log", true],
  ])("makes %s say of %s: %s", (pattern, path, expected) => {
    expect(matches(pattern, path)).toBe(expected);
  });

  it.each(["", "/log/[ab", "/log/{a,b", "/log/x\\", "/log/[b-a]", "/log/*/../x"])(
    "says what is wrong with %j",
    (pattern) => {
      expect(parseGlob(pattern, "/")).toBeTypeOf("string");
    },
  );

  it("refuses braces that stand for too many patterns", () => {
    expect(parseGlob(`/${"{a,b}".repeat(9)}`, "/")).toMatch(/more than 256/);
  });

  it("walks only below the names in front of the first pattern", () => {
    expect(parseGlob("/var/log/omni/*/x.log", "/")).toMatchObject([{ base: "/var/log/omni" }]);
    expect(parseGlob("/var/log/x.log", "/")).toEqual([{ base: "/var/log/x.log", parts: [] }]);
  });

  it("makes an escaped name match itself alone", () => {
    const name = fc.string({ minLength: 1, unit: "binary" }).filter((text) => !/^\.{1,2}$|\//.test(text));
    fc.assert(
      fc.property(name, name, (one, other) => {
        expect(matches(`/x/${escapeGlob(one)}`, `/x/${one}`)).toBe(true);
        expect(matches(`/x/${escapeGlob(one)}`, `/x/${other}`)).toBe(one === other);
      }),
    );
  });
});
