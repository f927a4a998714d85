import { describe, expect, it } from "vitest";
import { clashes } from "./listens.ts";

describe("clashes", () => {
  const pairs = (...addresses: string[]) =>
    clashes(addresses.map((address) => ({ path: [], address }))).map(([a, b]) => [a.address, b.address]);

  it.each([
    ["localhost:4317", "127.0.0.1:4317"],
    ["localhost:4317", "0.0.0.0:4317"],
    ["localhost:4317", ":4317"],
    ["localhost:4317", "[::]:4317"],
    ["Host:4317", "host:04317"],
    ["[::1]:4317", "[::1]:4317"],
    ["unix:/run/x.sock", "unix:/run/x.sock"],
  ])("pairs %s and %s", (a, b) => {
    expect(pairs(a, b)).toEqual([[a, b]]);
  });

  it.each([
    ["localhost:4317", "localhost:4318"],
    ["127.0.0.1:4317", "127.0.0.2:4317"],
    ["localhost:0", "localhost:0"],
    ["unix:/run/x.sock", "unix:/run/y.sock"],
    ["unix:/run/x:1", ":1"],
  ])("leaves %s and %s alone", (a, b) => {
    expect(pairs(a, b)).toEqual([]);
  });

  it("names every pair when three want one port", () => {
    expect(pairs("a:1", ":1", "b:1")).toEqual([
      ["a:1", ":1"],
      [":1", "b:1"],
    ]);
  });
});
