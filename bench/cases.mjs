/**
 * What is measured, as data: what each program runs (`ours`, `theirs`: parts of its otel.yml), what is sent at it (`load`),
 * and the target that docs/performance.md speaks of. Ratios are ours to theirs: more spans a CPU-second and less memory are better.
 */

/** Requests under way at once: as many as keep batches full, at most 128, at least 16. */
const inFlight = (spans) => Math.max(16, Math.min(128, Math.ceil(16_384 / spans)));

const load = (spans, protocol = "grpc") => ({ spans, protocol, inFlight: inFlight(spans) });

const merge = { merge: true };
const gzip = { compression: "gzip" };
const none = { compression: "none" };

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {"spans" | "idle" | "log" | "lines" | "open"} kind
 * @property {{merge?: boolean, compression?: string, level?: number, exporter?: string, durable?: boolean}} [ours]
 * @property {{compression?: string, exporter?: string, durable?: boolean}} [theirs]
 * @property {{spans: number, protocol: "grpc" | "http" | "json", inFlight: number}} [load]
 * @property {number} [target] least ratio of spans a CPU-second
 * @property {number} [memory] greatest ratio of peak memory
 * @property {boolean} [quick] part of `--quick`
 */

/** @type {Case[]} */
export const cases = [
  ...[64, 512].map((n) => ({
    name: `merge, ${n} spans a request, gzip out`,
    kind: "spans",
    ours: { ...merge, ...gzip },
    theirs: gzip,
    load: load(n),
    target: 1.8,
    memory: 0.7,
    quick: n === 64,
  })),
  {
    name: "merge, 64 spans a request, gzip level 6 out",
    kind: "spans",
    ours: { ...merge, ...gzip, level: 6 },
    theirs: gzip,
    load: load(64),
    target: 1.3,
  },
  ...[64, 512].map((n) => ({
    name: `merge, ${n} spans a request`,
    kind: "spans",
    ours: { ...merge, ...none },
    theirs: none,
    load: load(n),
    target: 1.6,
    memory: 0.8,
    quick: n === 64,
  })),
  ...[
    [8, 1.2],
    [1, 1.0],
  ].map(([n, target]) => ({
    name: `merge, ${n} span${n > 1 ? "s" : ""} a request`,
    kind: "spans",
    ours: { ...merge, ...none },
    theirs: none,
    load: load(n),
    target,
    quick: n === 1,
  })),
  ...[1, 8, 64, 512].map((n) => ({
    name: `pass-through, ${n} span${n > 1 ? "s" : ""} a request`,
    kind: "spans",
    ours: none,
    theirs: none,
    load: load(n),
  })),
  {
    name: "merge, 64 spans a request, HTTP protobuf in",
    kind: "spans",
    ours: { ...merge, ...none },
    theirs: none,
    load: load(64, "http"),
    target: 1.5,
  },
  {
    name: "merge, 64 spans a request, HTTP protobuf in and out, gzip out",
    kind: "spans",
    ours: { ...merge, ...gzip, exporter: "otlphttp" },
    theirs: { ...gzip, exporter: "otlphttp" },
    load: load(64, "http"),
  },
  {
    name: "merge, 64 spans a request, JSON in",
    kind: "spans",
    ours: { ...merge, ...none },
    theirs: none,
    load: load(64, "json"),
    target: 1.0,
  },
  {
    name: "merge, 64 spans a request, durable queue, fsync on",
    kind: "spans",
    ours: { ...merge, ...none, durable: true },
    theirs: { ...none, durable: true },
    load: load(64),
    target: 1.5,
  },
  { name: "idle", kind: "idle", ours: { ...merge, ...gzip }, theirs: gzip, quick: true },
  { name: "live log, 2,000 requests/s, 80,000 lines/s", kind: "log", ours: { ...merge, ...none } },
  { name: "log lines, parse and merge", kind: "lines", quick: true },
  { name: "a span among 1,000, 10,000 and 100,000 open requests", kind: "open" },
];
