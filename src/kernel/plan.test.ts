import { describe, expect, it } from "vitest";
import { Stage, stagedFactories } from "../../test/kit/components.ts";
import { processSurroundings } from "../config/providers.ts";
import { positionOf, problemLine } from "../config/report.ts";
import { resolveConfig } from "../config/resolve.ts";
import { makePlan } from "./plan.ts";

async function plan(yaml: string, env: Readonly<Record<string, string>> = {}) {
  const resolved = await resolveConfig({ configs: [`yaml:${yaml}`], sets: [] }, { ...processSurroundings, env });
  expect(resolved.unreadable).toBe(false);
  const broken = resolved.problems.map((problem) => problem.path);
  const made = makePlan(resolved.root, stagedFactories(new Stage()), broken);
  return { ...made, problems: [...resolved.problems, ...made.problems] };
}

/** `line:column text (hint)` of every problem. */
async function problems(yaml: string, env: Readonly<Record<string, string>> = {}): Promise<string[]> {
  const made = await plan(yaml, env);
  expect(made.plan === undefined).toBe(made.problems.length > 0);
  return made.problems.map((problem) => {
    const { line, column } = problem.at ? positionOf(problem.at) : { line: 0, column: 0 };
    return `${line}:${column} ${problemLine(problem)}${problem.hint ? ` (${problem.hint})` : ""}`;
  });
}

const GOOD = `receivers:
  in:
  in/logs: {endpoint: "localhost:1"}
processors:
  pass:
exporters:
  exit/x: {label: a}
connectors:
  join:
extensions:
  ext:
service:
  extensions: [ext]
  pipelines:
    logs: {receivers: [in/logs], exporters: [join]}
    traces/in: {receivers: [in], exporters: [join]}
    traces: {receivers: [join], processors: [pass], exporters: [exit/x]}
`;

describe("makePlan", () => {
  it("plans pipelines, aliases and defaults when all is well", async () => {
    const made = await plan(GOOD);
    expect(made.problems).toEqual([]);
    expect(made.warnings).toEqual([]);
    expect(made.plan?.pipelines.map(({ id, signal }) => [id, signal])).toEqual([
      ["logs", "logs"],
      ["traces/in", "traces"],
      ["traces", "traces"],
    ]);
    expect(made.plan?.exporters.get("exit/x")).toMatchObject({
      id: { type: "exit", name: "x" },
      factory: { type: "out" },
    });
    expect(made.plan?.levels.flat()).toHaveLength(5);
    expect(made.plan?.effective).toMatchObject({
      exporters: { "exit/x": { label: "a" } },
      receivers: { in: { label: "none" } },
      service: { telemetry: { logs: { level: "info" } } },
    });
  });

  it("starts an extension once that is named twice, as the Collector does", async () => {
    const made = await plan(GOOD.replace("extensions: [ext]", "extensions: [ext, ' ext ']"));
    expect(made.problems).toEqual([]);
    expect(made.plan?.enabledExtensions).toEqual(["ext"]);
  });

  it("reports unknown sections, components, keys and wrong types, all at once, each with its place", async () => {
    expect(
      await problems(`recievers: {}
receivers:
  inn:
  9a:
  in: {labl: x, endpoint: 5}
exporters:
  jaeger: {endpoint: "jaeger:14250"}
  out: [1]
service:
  pipeline: {}
  telemetry: {logs: {level: Foo}, metrics: {level: lots}}
`),
    ).toEqual([
      "1:1 recievers: the configuration has invalid keys: recievers (did you mean `receivers`?)",
      '3:3 receivers::inn: unknown type: "inn" for id: "inn" (valid values: [in tracesonly]) (did you mean `in`?)',
      '4:3 receivers::9a: in "9a" id: invalid character(s) in type "9a" (write type or type/name, such as otlp or otlp/edge)',
      "5:8 receivers::in::labl: 'in' has invalid keys: labl (did you mean `label`?)",
      "5:27 receivers::in::endpoint: expected type 'string', got number 5",
      '7:3 exporters::jaeger: unknown type: "jaeger" for id: "jaeger" (valid values: [exit out]) (Jaeger takes OTLP natively (since 1.35): write an exporter `otlp` with endpoint JAEGER_HOST:4317 and, without TLS, `tls: {insecure: true}`)',
      "8:3 exporters::out: expected a map, got a list",
      "10:3 service::pipeline: 'service' has invalid keys: pipeline (did you mean `pipelines`?)",
      '11:29 service::telemetry::logs::level: unrecognized level: "Foo" (one of debug, info, warn, error)',
      '11:52 service::telemetry::metrics::level: unknown metrics level "lots" (one of none, basic, normal, detailed)',
    ]);
  });

  it("reports dangling references and empty pipelines in the Collector's words", async () => {
    expect(
      await problems(`receivers: {in: }
processors: {pass: }
exporters: {out: , out/b: {storage: nowhere}}
service:
  extensions: [extt, ext]
  pipelines:
    traces:
      receivers: [inn]
      processors: [pass, nope, pass]
      exporters: [out, out/b]
    logs:
    foo: {receivers: [in], exporters: [out]}
    trace: {receivers: [in], exporters: [out]}
    traces/: {}
`),
    ).toEqual([
      '3:37 exporters::out/b::storage: references extension "nowhere" which is not configured',
      '5:16 service::extensions: references extension "extt" which is not configured (did you mean `ext`? It also needs `ext:` under extensions)',
      '5:22 service::extensions: references extension "ext" which is not configured (add `ext:` under extensions)',
      '8:19 service::pipelines::traces: references receiver "inn" which is not configured (did you mean `in`?)',
      '9:26 service::pipelines::traces: references processor "nope" which is not configured',
      '9:32 service::pipelines::traces: references processor "pass" multiple times',
      "11:5 service::pipelines::logs: must have at least one receiver",
      "11:5 service::pipelines::logs: must have at least one exporter",
      '12:5 service::pipelines::foo: in "foo" id: unknown pipeline signal: "foo" (known signals: traces, metrics, logs)',
      '13:5 service::pipelines::trace: in "trace" id: unknown pipeline signal: "trace" (did you mean `traces`?)',
      '14:5 service::pipelines::traces/: in "traces/" id: the part after / should not be empty (write signal or signal/name, such as traces or traces/in)',
    ]);
  });

  it("says of a component of an unknown type only that, also where pipelines and service::extensions name it", async () => {
    expect(
      await problems(`receivers: {in: }
exporters: {jaegr: }
connectors: {jion/a: }
extensions: {zpages: }
service:
  extensions: [zpages]
  pipelines:
    traces: {receivers: [in], exporters: [jaegr, jion/a]}
    traces/2: {receivers: [jion/a], exporters: [jaegr]}
`),
    ).toEqual([
      expect.stringContaining('2:13 exporters::jaegr: unknown type: "jaegr"'),
      expect.stringContaining('3:14 connectors::jion/a: unknown type: "jion"'),
      expect.stringContaining('4:14 extensions::zpages: unknown type: "zpages"'),
    ]);
  });

  it("checks the other parts of service when some cannot be decoded", async () => {
    const head = "receivers: {in: }\nexporters: {out: }\nextensions: {ext: }\n";
    expect(
      await problems(`${head}service:
  extensions: [etx]
  telemetry: {logs: {level: loud}}
  pipelines:
    traces: {recievers: [in], exporters: [out]}
    traces/2: {receivers: [inn], exporters: [out]}
`),
    ).toEqual([
      expect.stringMatching('^5:16 service::extensions: references extension "etx" which is not configured'),
      expect.stringMatching('^6:29 service::telemetry::logs::level: unrecognized level: "loud"'),
      expect.stringMatching("^8:14 service::pipelines::traces::recievers: 'traces' has invalid keys: recievers"),
      expect.stringMatching('^9:28 service::pipelines::traces/2: references receiver "inn" which is not configured'),
    ]);
    expect(await problems(`${head}service: {telemetry: {logs: 1}, pipelines: {traces: 7}}`)).toHaveLength(2);
    expect(await problems(`${head}service: {telemetry: {logs: 1}}`)).toHaveLength(2);
    expect(await problems(`${head}service: 5`)).toHaveLength(1);
  });

  it("refuses a list that is written as one string, as the Collector does", async () => {
    expect(
      await problems(
        "receivers: {in: }\nexporters: {out: }\nservice: {pipelines: {traces: {receivers: in, exporters: [out]}}}",
      ),
    ).toEqual(['3:43 service::pipelines::traces::receivers: source data must be an array or slice, got string "in"']);
  });

  it("says that nothing is configured when nothing is", async () => {
    expect(await problems("# nothing")).toEqual([
      "0:0 empty configuration file (run `omnishim --help` for where to begin)",
      "0:0 service::pipelines: service must have at least one pipeline",
    ]);
    expect(await problems("receivers: {in: }\nservice: {pipelines: {traces: {receivers: [in]}}}")).toEqual([
      "0:0 no exporter configuration specified in config",
      "2:23 service::pipelines::traces: must have at least one exporter",
    ]);
  });

  it("reports connectors with one side, in the wrong direction, with a taken id, and circles", async () => {
    const head = "receivers: {in: }\nexporters: {out: }\nconnectors: {join: , join/2: , in: }\n";
    const found = await problems(`${head}service:
  pipelines:
    traces: {receivers: [in], exporters: [join]}
    metrics: {receivers: [join/2], exporters: [out]}
    traces/2: {receivers: [in], exporters: [join/2]}
`);
    expect(found.filter((text) => text.includes("unknown type"))).toHaveLength(1);
    expect(found.slice(1)).toEqual([
      expect.stringContaining(
        '6:43 connector "join" used as exporter in [traces] pipeline but not used in any supported receiver pipeline (a connector is an exporter of one pipeline and a receiver of another; "join" joins traces to traces, logs to traces)',
      ),
      expect.stringContaining('7:27 connector "join/2" used as receiver in [metrics] pipeline'),
      expect.stringContaining('8:45 connector "join/2" used as exporter in [traces/2] pipeline'),
    ]);
    expect(
      await problems(`receivers: {in: , join: }
exporters: {out: }
connectors: {join: , join/a: , join/b: }
service:
  pipelines:
    traces: {receivers: [in, join/b], exporters: [join/a]}
    traces/2: {receivers: [join/a], exporters: [join/b, out]}
`),
    ).toEqual([
      expect.stringContaining('1:19 receivers::join: unknown type: "join"'),
      '5:3 cycle detected: connector "join/a" (traces to traces) -> connector "join/b" (traces to traces) -> connector "join/a" (traces to traces) (take the connector out of the exporters of one of these pipelines)'.replace(
        "6:5",
        "5:3",
      ),
    ]);
  });

  it("reports an id that is both a receiver and a connector", async () => {
    const factories = stagedFactories(new Stage());
    const twins = { ...factories, receivers: factories.receivers.map((factory) => ({ ...factory, type: "join" })) };
    const { root } = await resolveConfig(
      { configs: [`yaml:${GOOD.replace("  in:\n", "  join:\n")}`], sets: [] },
      processSurroundings,
    );
    expect(makePlan(root, twins).problems.map(problemLine)).toContain(
      'connectors::join: ambiguous ID: Found both "join" receiver and "join" connector. Change one of the components\' IDs to eliminate ambiguity (e.g. rename "join" connector to "join/connector")',
    );
  });

  it("reports a receiver in a pipeline of a signal that it does not receive", async () => {
    expect(
      await problems(
        "receivers: {tracesonly: }\nexporters: {out: }\nservice: {pipelines: {logs: {receivers: [tracesonly], exporters: [out]}}}",
      ),
    ).toEqual([
      '3:42 service::pipelines::logs: failed to create "tracesonly" receiver for data type "logs": telemetry type is not supported ("tracesonly" works in pipelines of traces)',
    ]);
  });

  it("reports two components on one port when both are used", async () => {
    const yaml = (pipeline: string) => `receivers:
  in/a: {endpoint: "localhost:4317"}
  in/b: {endpoint: ":4317"}
exporters: {out: }
service: {pipelines: {traces: {receivers: [${pipeline}], exporters: [out]}}}`;
    expect(await problems(yaml("in/a, in/b"))).toEqual([
      "3:20 receivers::in/b::endpoint: address :4317 is already taken by receivers::in/a::endpoint (localhost:4317) (give one of the two another port)",
    ]);
    expect(await problems(yaml("in/a"))).toEqual([]);
  });

  it("reports an extension that is used and not started", async () => {
    expect(
      await problems(GOOD.replace("extensions: [ext]", "extensions: []").replace("{label: a}", "{storage: ext}")),
    ).toEqual([
      '7:21 exporters::exit/x::storage: references extension "ext" which is not started (add ext to service::extensions)',
    ]);
  });

  it("warns of what is configured and not used", async () => {
    const { warnings } = await plan(
      GOOD.replace("  pass:\n", "  pass:\n  pass/2:\n").replace("  extensions: [ext]\n", ""),
    );
    expect(warnings).toEqual([
      "processors::pass/2 is configured and not used in any pipeline",
      "extensions::ext is configured and not started: it is missing in service::extensions",
    ]);
  });

  it("warns of telemetry settings without effect", async () => {
    const { warnings } = await plan(
      `${GOOD}  telemetry:\n    traces: {processors: [x]}\n    metrics: {readers: [{periodic: {}}]}\n`,
    );
    expect(warnings.map((text) => text.split(" is accepted")[0])).toEqual([
      "service::telemetry::traces",
      "service::telemetry::metrics::readers::periodic",
    ]);
  });

  it("says nothing about values that could not be expanded but that", async () => {
    const found = await problems(GOOD.replace("{label: a}", "{label: '${file:nope}', lbel: 1}"));
    expect(found).toEqual([
      "7:19 exporters::exit/x::label: unable to read the file file:nope: open nope: no such file or directory",
      "7:35 exporters::exit/x::lbel: 'exit/x' has invalid keys: lbel (did you mean `label`?)",
    ]);
  });

  describe("gives a field of type string the text of a reference", () => {
    const label = async (value: string, env: Readonly<Record<string, string>> = {}) => {
      const made = await plan(GOOD.replace("{label: a}", `\n    label: ${value}`), env);
      if (made.problems.length > 0) return made.problems.map(problemLine).join();
      const exporters = made.plan?.effective["exporters"] as Record<string, { label: unknown }> | undefined;
      return exporters?.["exit/x"]?.label;
    };
    it.each([
      ["${env:A}", { A: "010" }, "010"],
      ["${env:A}", { A: "true" }, "true"],
      ["${env:A}", { A: "{a: 1}" }, "{a: 1}"],
      ["${env:A}", {}, ""],
      ["${env:A:-4317}", {}, "4317"],
    ])("when it is %s of %j", async (value, env, wanted) => {
      expect(await label(value, env as Record<string, string>)).toBe(wanted);
    });

    it("but not a number that is written in the file", async () => {
      expect(await label("010")).toBe("exporters::exit/x::label: expected type 'string', got number 8");
    });

    it("and the default when the file has nothing behind the key", async () => {
      expect(await label("")).toBe("none");
    });
  });
});
