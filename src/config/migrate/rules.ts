/**
 * What has changed since Collector 0.103, rule by rule, each with the release and the change it is from
 * (CHANGELOG.md of opentelemetry-collector, and of -contrib where it says so).
 */
import { type ConfigNode, type MapEntry, nodeAt } from "../node.ts";
import { type Editor, entriesOf, entryOf, type PlainValue, textOf } from "./editor.ts";

/** What a rule has to work with. */
export interface Draft {
  readonly root: ConfigNode;
  readonly editor: Editor;
  /** Component types that this program knows, aliases too, by section: "extensions" -> ["health_check", …]. */
  readonly known: Readonly<Record<string, ReadonlySet<string>>>;
  /** Notes a change. @param at what is changed; `what` reads "`otlp` becomes `otlp_grpc`" */
  changed(path: readonly string[], at: ConfigNode["at"], what: string, reason: string): void;
  /** Notes something that stays as it is, and that its owner should think about. */
  remark(path: readonly string[], at: ConfigNode["at"], text: string): void;
  /** Notes that the component `id` of `section` is called `name` from now on; every reference follows. */
  rename(section: string, entry: MapEntry, id: string, name: string): void;
  /** Notes that the component goes; every reference goes with it. */
  remove(section: string, entry: MapEntry, id: string): void;
}

/** One rule. */
export interface Rule {
  /** The first release that has it: files that were written for it or a later one need no change. */
  readonly since: number;
  apply(draft: Draft): void;
}

/** `logging::loglevel` -> `debug::verbosity` (0.63). */
const VERBOSITIES: Readonly<Record<string, string>> = {
  debug: "detailed",
  info: "normal",
  warn: "basic",
  error: "basic",
};

/** TLS settings that stood beside `endpoint` until 0.36. */
const TLS_KEYS = ["insecure", "insecure_skip_verify", "server_name_override", "ca_file", "cert_file", "key_file"];

/** `type/name` taken apart. */
function partsOf(id: string): { type: string; name: string } {
  const [type = "", ...name] = id.trim().split("/");
  return { type, name: name.join("/") };
}

function components(
  draft: Draft,
  section: string,
  ...types: readonly string[]
): { id: string; type: string; name: string; entry: MapEntry }[] {
  return entriesOf(nodeAt(draft.root, [section])).flatMap(([id, entry]) => {
    const parts = partsOf(id);
    return types.includes(parts.type) ? [{ id, ...parts, entry }] : [];
  });
}

/** The rules in the order in which they are applied. */
export const RULES: readonly Rule[] = [
  { since: 104, apply: bareVariables },
  { since: 104, apply: receiverEndpoints },
  { since: 104, apply: healthCheckEndpoint },
  { since: 0, apply: openEndpoints },
  { since: 111, apply: metricsDefault },
  { since: 0, apply: metricsAddress },
  { since: 0, apply: loggingExporters },
  { since: 0, apply: jaegerExporters },
  { since: 0, apply: renamedExporters },
  { since: 0, apply: tlsBesideEndpoint },
  { since: 0, apply: batchers },
  { since: 0, apply: blockingQueues },
  { since: 0, apply: goneExtensions },
];

/** `$NAME` was expanded until 0.103. */
function bareVariables(draft: Draft): void {
  const visit = (node: ConfigNode, path: readonly string[]): void => {
    if (node.kind === "map") for (const [key, entry] of node.entries) visit(entry.node, [...path, key]);
    else if (node.kind === "list")
      for (const [index, item] of node.items.entries()) visit(item, [...path, String(index)]);
    else if (typeof node.value === "string") {
      const names = [...node.value.matchAll(/(?<!\$)((?:\$\$)*)\$([a-zA-Z_][a-zA-Z0-9_]*)/g)].map((found) => found[2]);
      if (names.length === 0) return;
      draft.editor.setText(
        node,
        /(?<!\$)((?:\$\$)*)\$([a-zA-Z_][a-zA-Z0-9_]*)/g,
        (_, dollars = "", name = "") => `${dollars}\${env:${name}}`,
      );
      draft.changed(
        path,
        node.at,
        `\`$${names.join("`, `$")}\` becomes \`\${env:…}\``,
        "since 0.104 a variable without braces is not expanded (#10435)",
      );
    }
  };
  visit(draft.root, []);
}

const OPEN_REASON =
  "until 0.103 a receiver without endpoint listened on every interface, since 0.104 on localhost (#8510)";

function receiverEndpoints(draft: Draft): void {
  for (const { id, entry } of components(draft, "receivers", "otlp"))
    for (const [protocol, port] of [
      ["grpc", 4317],
      ["http", 4318],
    ] as const) {
      const section = entryOf(entryOf(entry.node, "protocols")?.node, protocol);
      if (!section || entryOf(section.node, "endpoint")) continue;
      draft.editor.addEntry(section, "endpoint", `0.0.0.0:${port}`);
      draft.changed(
        ["receivers", id, "protocols", protocol, "endpoint"],
        section.key,
        `\`endpoint: 0.0.0.0:${port}\` is added`,
        `${OPEN_REASON}; take it out again when vLLM runs on this host`,
      );
    }
}

function healthCheckEndpoint(draft: Draft): void {
  for (const { id, entry } of components(draft, "extensions", "health_check")) {
    if (entryOf(entry.node, "endpoint")) continue;
    draft.editor.addEntry(entry, "endpoint", "0.0.0.0:13133");
    draft.changed(
      ["extensions", id, "endpoint"],
      entry.key,
      "`endpoint: 0.0.0.0:13133` is added",
      "until 0.103 the health check answered on every interface, since 0.104 on localhost (contrib #30702)",
    );
  }
}

function openEndpoints(draft: Draft): void {
  for (const section of ["receivers", "extensions"])
    for (const [id, entry] of entriesOf(nodeAt(draft.root, [section]))) {
      const visit = (node: ConfigNode, path: readonly string[]): void => {
        if (node.kind === "map") for (const [key, inner] of node.entries) visit(inner.node, [...path, key]);
        else if (path.at(-1) === "endpoint" && /^(?:0\.0\.0\.0|\[::\]|):\d+$/.test(textOf(node)))
          draft.remark(
            path,
            node.at,
            `${textOf(node)} can be reached from every network of this host; localhost is enough when its senders run here`,
          );
      };
      visit(entry.node, [section, id]);
    }
}

const METRICS = ["service", "telemetry", "metrics"];

function metricsDefault(draft: Draft): void {
  const metrics = nodeAt(draft.root, METRICS);
  if (entryOf(metrics, "address") || entryOf(metrics, "readers") || textOf(entryOf(metrics, "level")?.node) === "none")
    return;
  const at = nodeAt(draft.root, ["service"])?.at ?? draft.root.at;
  draft.remark(
    METRICS,
    at,
    "the metrics page was on :8888 of every interface, and is on localhost:8888 since 0.111 (#11251); for a Prometheus on another host give a reader with host 0.0.0.0",
  );
}

function metricsAddress(draft: Draft): void {
  const entry = entryOf(nodeAt(draft.root, METRICS), "address");
  if (!entry) return;
  const reason = "`address` is deprecated since 0.111 (#11205), and ignored since 0.123 (#25115)";
  if (entryOf(nodeAt(draft.root, METRICS), "readers")) {
    draft.editor.removeEntry(entry);
    draft.changed([...METRICS, "address"], entry.key, "is taken out, `readers` says it already", reason);
    return;
  }
  const text = textOf(entry.node);
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(text) ?? [];
  if (port === "") {
    draft.remark(
      [...METRICS, "address"],
      entry.key,
      `${text} is not host:port; write it as a reader by hand: ${reason}`,
    );
    return;
  }
  const prometheus = { host: host.replace(/^\[(.*)\]$/, "$1") || "0.0.0.0", port: Number(port) };
  draft.editor.replaceEntry(entry, "readers", [{ pull: { exporter: { prometheus } } }]);
  draft.changed([...METRICS, "address"], entry.key, `\`address: ${text}\` becomes a Prometheus reader`, reason);
}

function loggingExporters(draft: Draft): void {
  for (const { id, name, entry } of components(draft, "exporters", "logging")) {
    const path = ["exporters", id];
    draft.rename("exporters", entry, id, name === "" ? "debug" : `debug/${name}`);
    draft.changed(
      path,
      entry.key,
      "the exporter `logging` becomes `debug`",
      "`logging` was removed in 0.111, `debug` does the same (#11037)",
    );
    const loglevel = entryOf(entry.node, "loglevel");
    if (loglevel) {
      const verbosity = VERBOSITIES[textOf(loglevel.node)] ?? "normal";
      draft.editor.replaceEntry(loglevel, "verbosity", verbosity);
      draft.changed(
        [...path, "loglevel"],
        loglevel.key,
        `becomes \`verbosity: ${verbosity}\``,
        "`loglevel` is `verbosity` since 0.63 (#5878)",
      );
    } else if (!entryOf(entry.node, "verbosity")) {
      draft.editor.addEntry(entry, "verbosity", "normal");
      draft.changed(
        [...path, "verbosity"],
        entry.key,
        "`verbosity: normal` is added",
        "it was the default of `logging`; that of `debug` is basic (#8844)",
      );
    }
  }
}

const JAEGER_REASON =
  "the exporter was removed in 0.86 (contrib #26546): Jaeger takes OTLP itself, since 1.35, on 4317 (gRPC) and 4318 (HTTP)";

function jaegerExporters(draft: Draft): void {
  for (const { id, type, name, entry } of components(draft, "exporters", "jaeger", "jaeger_thrift")) {
    const endpoint = entryOf(entry.node, "endpoint");
    const isHttp = type === "jaeger_thrift";
    draft.rename("exporters", entry, id, `${isHttp ? "otlp_http" : "otlp_grpc"}/${name || "jaeger"}`);
    draft.changed(
      ["exporters", id],
      entry.key,
      `\`${type}\` becomes \`${isHttp ? "otlp_http" : "otlp_grpc"}\``,
      JAEGER_REASON,
    );
    if (!endpoint) continue;
    const from = textOf(endpoint.node);
    const to = isHttp
      ? from.replace(/:14268\b/, ":4318").replace(/\/api\/traces.*$/, "")
      : from.replace(/:14250$/, ":4317");
    if (to === from) {
      draft.remark(
        ["exporters", id, "endpoint"],
        endpoint.key,
        `make sure that ${from} is Jaeger's OTLP port, 4317 for gRPC or 4318 for HTTP`,
      );
      continue;
    }
    draft.editor.setText(endpoint.node, from, to);
    draft.changed(["exporters", id, "endpoint"], endpoint.key, `${from} becomes ${to}`, JAEGER_REASON);
  }
}

function renamedExporters(draft: Draft): void {
  for (const [from, to, reason] of [
    ["otlp", "otlp_grpc", "renamed in 0.144; the old name is a deprecated alias (#14403)"],
    ["otlphttp", "otlp_http", "renamed in 0.144; the old name is a deprecated alias (#14396)"],
  ] as const)
    for (const { id, name, entry } of components(draft, "exporters", from)) {
      draft.rename("exporters", entry, id, name === "" ? to : `${to}/${name}`);
      draft.changed(["exporters", id], entry.key, `the exporter \`${from}\` becomes \`${to}\``, reason);
    }
}

function tlsBesideEndpoint(draft: Draft): void {
  for (const { id, entry } of components(
    draft,
    "exporters",
    "otlp",
    "otlp_grpc",
    "otlphttp",
    "otlp_http",
    "jaeger",
    "jaeger_thrift",
  )) {
    const found = TLS_KEYS.flatMap((key) => {
      const setting = entryOf(entry.node, key);
      return setting ? [{ key, setting }] : [];
    });
    const [first, ...rest] = found;
    if (!first || entryOf(entry.node, "tls")) continue;
    const tls: Record<string, PlainValue> = {};
    for (const { key, setting } of found) if (setting.node.kind === "scalar") tls[key] = setting.node.value;
    draft.editor.replaceEntry(first.setting, "tls", tls);
    for (const { setting } of rest) draft.editor.removeEntry(setting);
    draft.changed(
      ["exporters", id],
      first.setting.key,
      `\`${found.map(({ key }) => key).join("`, `")}\` move below \`tls\``,
      "TLS settings are there since 0.36 (#4063)",
    );
  }
}

const BATCH_KEYS: Readonly<Record<string, string>> = {
  flush_timeout: "flush_timeout",
  min_size_items: "min_size",
  min_size: "min_size",
  max_size_items: "max_size",
  max_size: "max_size",
};

function batchers(draft: Draft): void {
  for (const { id, entry } of components(draft, "exporters", "otlp", "otlp_grpc", "otlphttp", "otlp_http")) {
    const batcher = entryOf(entry.node, "batcher");
    if (!batcher) continue;
    const reason = "`batcher` is `sending_queue::batch` since 0.123, and was removed in 0.130 (#12772, #13339)";
    const path = ["exporters", id, "batcher"];
    const isOn = textOf(entryOf(batcher.node, "enabled")?.node) !== "false";
    const batch: Record<string, PlainValue> = {};
    for (const [key, { node }] of entriesOf(batcher.node)) {
      const to = BATCH_KEYS[key];
      if (to !== undefined && node.kind === "scalar") batch[to] = node.value;
    }
    const queue = entryOf(entry.node, "sending_queue");
    if (!isOn) {
      draft.editor.removeEntry(batcher);
      draft.changed(path, batcher.key, "is taken out, it was off", reason);
    } else if (queue) {
      draft.editor.removeEntry(batcher);
      draft.editor.addEntry(queue, "batch", batch);
      draft.changed(path, batcher.key, "moves to `sending_queue::batch`", reason);
    } else {
      draft.editor.replaceEntry(batcher, "sending_queue", { batch });
      draft.changed(path, batcher.key, "moves to `sending_queue::batch`", reason);
    }
  }
}

function blockingQueues(draft: Draft): void {
  for (const [id, { node }] of entriesOf(nodeAt(draft.root, ["exporters"]))) {
    const blocking = entryOf(entryOf(node, "sending_queue")?.node, "blocking");
    if (!blocking) continue;
    draft.editor.renameKey(blocking, "block_on_overflow");
    draft.changed(
      ["exporters", id, "sending_queue", "blocking"],
      blocking.key,
      "becomes `block_on_overflow`",
      "renamed in 0.123, the old name was removed in 0.129 (#12710, #13211)",
    );
  }
}

const GONE: Readonly<Record<string, string>> = {
  memory_ballast: "removed in 0.109 (#10671): Go's GOMEMLIMIT took its place, and this program needs none",
  zpages: "this program has no zPages; its metrics page and log tell the same",
  pprof: "this program is no Go program; node --cpu-prof does the same",
};

function goneExtensions(draft: Draft): void {
  for (const { id, type, entry } of components(draft, "extensions", ...Object.keys(GONE))) {
    if (draft.known["extensions"]?.has(type)) continue;
    draft.remove("extensions", entry, id);
    draft.changed(["extensions", id], entry.key, "is taken out", GONE[type] ?? "");
  }
}
