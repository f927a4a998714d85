import fc from "fast-check";
import { factories } from "../../src/components.ts";
import type { AnyFactory } from "../../src/kernel/api.ts";

/** What every component needs to be accepted at all. */
const LEAST: Readonly<Record<string, object>> = {
  otlp: { protocols: { grpc: {}, http: {} } },
  omni_proxy_log: { include: ["/var/log/omni/*.log"] },
  otlp_grpc: {
    endpoint: "jaeger:4317",
    tls: { insecure: true },
    sending_queue: { batch: {} },
    dead_letter: { directory: "d" },
  },
  otlp_http: { endpoint: "http://jaeger:4318", headers: { a: "b" } },
  file: { path: "/tmp/x", rotation: {} },
  memory_limiter: { check_interval: "1s", limit_mib: 100 },
  basicauth: { htpasswd: { inline: "a:b" } },
  bearertokenauth: { token: "t" },
};

/** What people write where something else was wanted. */
const ODD: readonly unknown[] = [
  null,
  "",
  " ",
  "x",
  "5s",
  "-1s",
  "1e400s",
  "0x10",
  "::1",
  "localhost",
  "localhost:99999",
  "unix:///",
  "http://a:b@c",
  "yes",
  "\u0000",
  "ü".repeat(300),
  "{{",
  "${env:X}",
  true,
  false,
  0,
  -1,
  1.5,
  1e30,
  Number.MAX_SAFE_INTEGER,
  [],
  [null],
  ["a", 1],
  {},
  { a: 1 },
  { enabled: true },
  { "": "" },
  [[[]]],
  { constructor: 1 },
  JSON.parse('{"__proto__": {"x": 1}}'),
];

/** A section as the configuration would have it, with some of its values, keys and lists not as they should be. */
export interface OddSection {
  readonly factory: AnyFactory;
  readonly section: unknown;
}

const seeds: readonly { factory: AnyFactory; section: unknown }[] = Object.values(factories)
  .flat()
  .map((factory: AnyFactory) => ({ factory, section: factory.configure(LEAST[factory.type] ?? {}).effective }));

/** Sections of every component of the build, each made from one that is right. */
export function oddSections(): fc.Arbitrary<OddSection> {
  const edit = fc.record({
    where: fc.nat(1000),
    how: fc.constantFrom("value", "remove", "rename"),
    what: fc.nat(ODD.length - 1),
  });
  return fc.tuple(fc.constantFrom(...seeds), fc.array(edit, { maxLength: 5 })).map(([{ factory, section }, edits]) => {
    const copy: Holder = { root: structuredClone(section) };
    for (const { where, how, what } of edits) {
      const places = placesIn(copy);
      const [holder, key] = places[where % places.length] ?? [copy, "root"];
      if (how === "value" || holder === copy) holder[key] = structuredClone(ODD[what]);
      else {
        const value = holder[key];
        // A list is left without holes: no file can say such a thing.
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        if (how === "rename" && !Array.isArray(holder)) holder[`${key}x`] = value;
      }
    }
    return { factory, section: copy["root"] };
  });
}

type Holder = Record<string, unknown>;

function placesIn(holder: Holder): [Holder, string][] {
  return Object.entries(holder).flatMap(([key, value]) => [
    [holder, key] as [Holder, string],
    ...(typeof value === "object" && value !== null ? placesIn(value as Holder) : []),
  ]);
}
