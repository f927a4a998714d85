import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigErrors } from "../kernel/errors.ts";
import { parseDuration } from "./duration.ts";
import {
  bool,
  decodeSection,
  duration,
  formatDuration,
  int,
  level,
  oneOf,
  presence,
  secretMap,
  section,
  text,
  textMap,
  texts,
} from "./schema.ts";

function issues(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error;
    return error.issues.map(
      ({ path, message, hint, atKey }) =>
        `${path.join("::")}: ${message}${hint ? ` (${hint})` : ""}${atKey ? " @key" : ""}`,
    );
  }
  return [];
}

const server = section({
  endpoint: text("localhost:1"),
  timeout: duration("5s"),
  size: int(10, 1, 100),
  on: bool(true),
  mode: oneOf(["fast", "slow"], "fast"),
  inner: section({ names: texts(), labels: textMap() }),
  tls: presence({ insecure: bool(false) }),
  headers: secretMap(),
});

describe("decodeSection", () => {
  it.each([[undefined], [null], [{}]])("fills in defaults for %j", (value) => {
    const { config, effective } = decodeSection(server, value);
    expect(config).toMatchObject({
      endpoint: "localhost:1",
      timeout: 5000,
      size: 10,
      on: true,
      inner: { names: [], labels: {} },
    });
    expect(config.tls).toBeUndefined();
    expect(effective).toMatchObject({ timeout: "5s", inner: { names: [] }, headers: {} });
  });

  it("tells an absent part from one that is there without a value", () => {
    expect(decodeSection(server, { tls: null }).config.tls).toEqual({ insecure: false });
  });

  it("gives back what it read, with secrets hidden, so that it can be read again", () => {
    const { effective } = decodeSection(server, { timeout: "1m30s", headers: { a: "s3cret" }, tls: {} });
    expect(effective).toMatchObject({ timeout: "1m30s", headers: { a: "[REDACTED]" }, tls: { insecure: false } });
    expect(decodeSection(server, effective).effective).toEqual(effective);
  });

  it("takes headers as a list of names and values too", () => {
    const { config } = decodeSection(server, { headers: [{ name: "a", value: "x" }] });
    expect(config.headers["a"]?.reveal()).toBe("x");
    expect(`${config.headers["a"]} ${JSON.stringify(config.headers)}`).not.toContain("x");
    expect(issues(() => decodeSection(server, { headers: ["a"] }))).toEqual([
      "headers: expected type 'map', got a list",
    ]);
  });

  it("takes a list of strings as one string with commas", () => {
    expect(decodeSection(server, { inner: { names: "a,b" } }).config.inner.names).toEqual(["a", "b"]);
    expect(decodeSection(server, { inner: { names: "" } }).config.inner.names).toEqual([]);
  });

  it("names everything that is wrong, found and wanted", () => {
    const wrong = {
      endpoint: 4317,
      timeout: "5x",
      size: 500,
      on: "yes",
      mode: "fsat",
      inner: { names: [1], nmaes: [] },
      tls: [],
      colour: 1,
    };
    expect(issues(() => decodeSection(server, wrong)).sort()).toEqual([
      "colour: '' has invalid keys: colour (known keys: endpoint, headers, inner, mode, on, size, timeout, tls) @key",
      "endpoint: expected type 'string', got number 4317",
      "inner::names::0: expected type 'string', got number 1",
      "inner::nmaes: 'inner' has invalid keys: nmaes (did you mean `names`?) @key",
      'mode: expected one of "fast", "slow", got string "fsat" (did you mean `fast`?)',
      "on: expected type 'bool', got string \"yes\"",
      "size: must be at most 100, got 500",
      'timeout: time: invalid duration "5x" (write a number with a unit, such as "200ms", "5s" or "1h30m")',
      "tls: expected a map, got a list",
    ]);
  });

  it("reads a level in any case", () => {
    const schema = section({ level: level(["low", "high"], "low", "unknown level", { top: "high" }) });
    expect(decodeSection(schema, { level: "HIGH" }).config.level).toBe("high");
    expect(decodeSection(schema, { level: "Top" }).config.level).toBe("high");
    expect(issues(() => decodeSection(schema, { level: "hihg" }))).toEqual([
      'level: unknown level "hihg" (did you mean `high`?)',
    ]);
    expect(issues(() => decodeSection(schema, { level: "constructor" }))).toEqual([
      'level: unknown level "constructor" (one of low, high)',
    ]);
  });
});

describe("durations", () => {
  it.each([
    ["0", 0],
    ["5s", 5000],
    ["200ms", 200],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    [".5s", 500],
    ["-2s", -2000],
    ["1us", 0.001],
    ["1µs", 0.001],
    ["7ns", 7e-6],
  ])("reads %s as Go does", (written, ms) => {
    expect(parseDuration(written)).toBeCloseTo(ms, 9);
  });

  it.each(["", "5", "s", "5 s", "1d", "5S", "--5s", "5s5", "1e3s", ".s"])("refuses %j as Go does", (written) => {
    expect(parseDuration(written)).toBeUndefined();
  });

  it("are nanoseconds when they are a bare number, and never negative", () => {
    const schema = section({ timeout: duration("1s") });
    expect(decodeSection(schema, { timeout: 5_000_000 }).config.timeout).toBe(5);
    expect(issues(() => decodeSection(schema, { timeout: "-1s" }))).toHaveLength(1);
  });

  it("survive being printed and read again", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 10 }), (micros) => {
        const ms = micros / 1000;
        expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 3);
      }),
    );
  });
});
