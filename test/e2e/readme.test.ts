import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { JaegerTrace } from "../../src/offline/jaeger/model.ts";
import { ChatMock, type MockedAnswer } from "../kit/chat-mock.ts";
import { JaegerApi } from "../kit/jaeger-api.ts";
import { probedTraces } from "../kit/probed-trace.ts";
import { freePorts, Program } from "../kit/process.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What a block of commands needs that tests do not have; written behind `sh` in the fence. */
const NEEDS = ["gpu", "internet", "docker", "root"];

interface Block {
  readonly document: string;
  readonly needs: string;
  readonly commands: readonly string[];
}

function text(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

function blocksOf(document: string): Block[] {
  return [...text(document).matchAll(/^```sh *(.*)\n([\s\S]*?)^```$/gm)].map(([, needs = "", body = ""]) => ({
    document,
    needs,
    commands: body.split("\n").filter((line) => line !== "" && !line.startsWith("#")),
  }));
}

/** Shown by another test or by CI: the file must really have this text. */
function shownBy(path: string, what: string): () => Promise<void> {
  return async () => expect(text(path)).toContain(what);
}

/** Runs the command as written, which must end with code 0 and print this. */
function prints(pattern: RegExp): (command: string) => Promise<void> {
  return ends(0, pattern);
}

/** Runs the command as written, which must end with this code and print this. */
function ends(code: number, pattern: RegExp): (command: string) => Promise<void> {
  return async (command) => {
    const [, ...args] = command.split(" ");
    const program = new Program(process.execPath, args, { cwd: root });
    try {
      expect(await program.exit()).toEqual({ code, signal: undefined });
      expect(program.output).toMatch(pattern);
    } finally {
      await program.stop();
    }
  };
}

/** Runs the command with ports of its own until it says that it is ready, then `look`; SIGTERM must end it with code 0. */
async function running(command: string, look: (metricsUrl: string) => Promise<void>): Promise<void> {
  const [grpc, http, metrics] = await freePorts(3);
  const [, ...args] = command.split(" ");
  const sets = [
    `receivers::otlp::protocols::grpc::endpoint=127.0.0.1:${grpc}`,
    `receivers::otlp::protocols::http::endpoint=127.0.0.1:${http}`,
    `service::telemetry::metrics::address=127.0.0.1:${metrics}`,
  ];
  const program = new Program(process.execPath, [...args, ...sets.flatMap((set) => ["--set", set])], { cwd: root });
  try {
    await program.line(/Everything is ready/);
    await look(`http://127.0.0.1:${metrics}/metrics`);
    program.signal("SIGTERM");
    expect(await program.exit()).toEqual({ code: 0, signal: undefined });
  } finally {
    await program.stop();
  }
}

/** Runs the command through a shell in a folder that has the program and its demo; `look` gets what it printed, and the folder. */
function offline(look: (output: string, read: (name: string) => string) => void): (command: string) => Promise<void> {
  return async (command) => {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-docs-"));
    for (const name of ["dist", "demo"]) symlinkSync(join(root, name), join(folder, name));
    const program = new Program("/bin/sh", ["-c", command], { cwd: folder });
    try {
      expect(await program.exit()).toEqual({ code: 0, signal: undefined });
      look(program.output, (name) => readFileSync(join(folder, name), "utf8"));
    } finally {
      await program.stop();
      rmSync(folder, { recursive: true });
    }
  };
}

/** How many traces a Jaeger file has. */
function traces(json: string): number {
  return (JSON.parse(json) as { data: unknown[] }).data.length;
}

const OFFLINE = "node dist/main.js";

/** `collect` against a host that is not there; test/peers/collect.test.ts runs it against real ones. */
async function collecting(command: string): Promise<void> {
  const [port] = (await freePorts(1)) as [number];
  const folder = mkdtempSync(join(tmpdir(), "omnishim-docs-"));
  symlinkSync(join(root, "dist"), join(folder, "dist"));
  writeFileSync(join(folder, "servers.txt"), `127.0.0.1:${port} # nobody\n`);
  const [, ...args] = command.split(" ");
  const program = new Program(process.execPath, args, { cwd: folder });
  try {
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(program.output).toMatch(/^127\.0\.0\.1: (?:.*Connection refused|there is no ssh here)/m);
    expect(program.output).toContain("fetched into collected; 0 of 1 hosts ok");
  } finally {
    await program.stop();
    rmSync(folder, { recursive: true });
  }
}

/** `probe` against a proxy that is none, and a Jaeger that has the traces at once. */
async function probing(command: string): Promise<void> {
  const traceOf = await probedTraces();
  const traces: JaegerTrace[] = [];
  const answered = (answer: MockedAnswer): void => void traces.push(traceOf(answer));
  const mock = await new ChatMock({ firstAfterMs: 5, tokens: 20, tokenEveryMs: 1, answered }).start();
  const jaeger = await new JaegerApi(traces).start();
  const [, ...args] = command
    .replace("http://localhost:8000/v1", mock.url)
    .replace("http://localhost:16686", jaeger.url)
    .split(" ");
  const program = new Program(process.execPath, args, { cwd: root });
  try {
    expect(await program.exit()).toEqual({ code: 0, signal: undefined });
    expect(program.output).toContain("5 of 5 requests answered; 5 of them are one complete trace each");
  } finally {
    await program.stop();
    await mock.stop();
    await jaeger.stop();
  }
}

/** How each command of the documents is known to work. */
const PROOFS: Readonly<Record<string, (command: string) => Promise<void>>> = {
  "npm ci": shownBy(".ci/run", "npm ci"),
  "npm run build": shownBy(".ci/run", "npm run build"),
  "npm run check": shownBy(".ci/run", "npm run check"),
  // test/deploy/setup.ts runs the tool; here it would fetch a runtime.
  "npm run build:binary": shownBy("package.json", '"build:binary": "node tools/binary.mjs"'),
  "npm test": shownBy(".ci/run", "npm test"),
  "npm run test:e2e": shownBy(".ci/run", "npm run test:e2e"),
  "npm run test:peers": shownBy(".ci/run", "npm run test:peers"),
  // demo.test.ts runs `node dist/main.js demo`; building here would pull the program from under the other tests.
  "npm run demo": shownBy("package.json", '"demo": "npm run --silent build && node dist/main.js demo"'),
  "node dist/main.js --config otel.yml": (command) => running(command, async () => {}),
  "node dist/main.js validate --config otel.yml": prints(/^$/),
  "node dist/main.js print-config --config otel.yml": prints(/request_merge:[\s\S]*span_wait: /),
  "node dist/main.js components": prints(/request_merge/),
  "node dist/main.js --help": prints(/demo[\s\S]*--config/),
  "node dist/main.js init - --deployment compose": prints(/# omnishim in a container[\s\S]*endpoint: jaeger:4317/),
  "node dist/main.js completion bash": prints(/^complete -F _omnishim omnishim$/m),
  "man deploy/man/omnishim.1": async () => expect(text("deploy/man/omnishim.1")).toMatch(/^\.TH OMNISHIM 1 /m),
  "node dist/main.js migrate test/fixtures/config/documents-otel.yml": prints(
    / {2}otlp_grpc:\n {4}endpoint: jaeger:4317/,
  ),
  "node dist/main.js doctor --config otel.yml": ends(
    1,
    /ERROR log-missing: .*nginx_error\.log[\s\S]*at: +otel\.yml:\d+:/,
  ),
  [`${OFFLINE} convert demo/capture traces.json`]: offline((output, read) => {
    expect(output).toContain("8 traces, and 5 of statistics over 4 requests (2 skipped at the ends)");
    expect(traces(read("traces.json"))).toBe(13);
  }),
  [`${OFFLINE} convert demo/capture merged.json --otlp demo/capture/otlp/0012.pb demo/capture/otlp/0013.pb demo/capture/otlp/0014.pb`]:
    offline((output, read) => {
      expect(output).toMatch(/\d+ recorded spans joined, none left over/);
      expect(read("merged.json")).toContain("llm_request");
    }),
  [`${OFFLINE} convert demo/capture slowest.json --top 3 --by ttft`]: offline((output, read) => {
    expect(output).toContain("3 traces, and 5 of statistics");
    expect(traces(read("slowest.json"))).toBe(8);
  }),
  [`${OFFLINE} convert demo/capture spans.jsonl --format otlp-json --json`]: offline((output, read) => {
    expect(JSON.parse(output)).toMatchObject({ requests: 8, traces: 8, files: [{ path: "spans.jsonl" }] });
    expect(JSON.parse(read("spans.jsonl").split("\n")[0] ?? "")).toHaveProperty("resourceSpans");
  }),
  [`${OFFLINE} stats demo/capture`]: offline((output) => {
    expect(output).toMatch(/^P running +8 /m);
    expect(output).toContain("8 seen (6 ok, 1 client_disconnected, 1 rejected)");
  }),
  [`${OFFLINE} stats demo/capture --by upstream`]: offline((output) => {
    expect(output).toMatch(/upstream: 127\.0\.0\.1:29100[\s\S]*upstream: 127\.0\.0\.1:29101/);
  }),
  [`${OFFLINE} stats demo/capture --operation "D running" --csv`]: offline((output) => {
    expect(output).toMatch(/^operation,count,avg_ms,.*\n.*,8,[\s\S]*^Longest of D running$/m);
  }),
  [`${OFFLINE} report demo/capture report.html`]: offline((output, read) => {
    expect(output).toContain("report.html: 8 requests in 8 traces");
    expect(read("report.html")).toMatch(/^<!DOCTYPE html>[\s\S]*<\/html>\n$/);
  }),
  [`${OFFLINE} report demo/capture report.html --otlp demo/capture/otlp/0012.pb demo/capture/otlp/0013.pb demo/capture/otlp/0014.pb --top 5 --by ttft`]:
    offline((_, read) => {
      expect(read("report.html")).toContain("The 5 requests with the largest TTFT.");
    }),
  [`${OFFLINE} report demo/capture --json`]: offline((output) => {
    expect(JSON.parse(output)).toMatchObject({ statistics: { requests: { seen: 8 } } });
  }),
  [`${OFFLINE} collect servers.txt /tmp/trace_output_directory /var/log/omni collected`]: collecting,
  [`${OFFLINE} probe --url http://localhost:8000/v1 --model MODEL --rps 1 --num_prompts 5 --max_tokens 20 --traces http://localhost:16686`]:
    probing,
  [`${OFFLINE} explain 3da2bf8a-b1b4-4411-99ca-dbc0a8d17c05 demo/capture`]: offline((output) => {
    for (const heading of ["Why", "Missing", "Time", "Lines (36)"]) expect(output).toContain(`\n${heading}`);
  }),
};

describe("commands in the documents", () => {
  const blocks = [
    ...["README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/architecture.md"],
    ...[
      "docs/clock-sync.md",
      "docs/doctor.md",
      "docs/migrate.md",
      "docs/native-jaeger.md",
      "docs/collect.md",
      "docs/offline.md",
      "docs/omni-proxy.md",
    ],
  ].flatMap(blocksOf);
  const commands = new Set(blocks.filter(({ needs }) => needs === "").flatMap((block) => block.commands));

  it("documents have a fence of shell commands that says what each block needs", () => {
    expect(commands.size).toBeGreaterThan(8);
    for (const { document, needs } of blocks) expect(["", ...NEEDS], document).toContain(needs);
  });

  it.each([...commands])("%s works as the documents say", async (command) => {
    const proof = PROOFS[command];
    expect(proof, `no test runs \`${command}\``).toBeDefined();
    await proof?.(command);
  });

  it("documents have every command that this test knows", () => {
    expect([...commands].sort()).toEqual(Object.keys(PROOFS).sort());
  });
});

/** Names of this program's metrics in a PromQL expression. */
function metricsOf(expr: string): string[] {
  return [...expr.matchAll(/\b((?:omnishim|otelcol)_[a-z0-9_]+)/g)].map((match) =>
    (match[1] ?? "").replace(/_bucket$/, ""),
  );
}

/** Every expression names metrics, and only such as the program with otel.yml has. */
async function expectKnown(expressions: readonly string[]): Promise<void> {
  expect(expressions.filter((expr) => metricsOf(expr).length === 0)).toEqual([]);
  await running("node dist/main.js --config otel.yml", async (url) => {
    const page = await (await fetch(url)).text();
    const has = new Set([...page.matchAll(/^# HELP (\S+)/gm)].map((match) => match[1] ?? ""));
    expect(expressions.flatMap(metricsOf).filter((name) => !has.has(name))).toEqual([]);
  });
}

/** Debian's package `prometheus` has promtool; where it is not on the path its tests are shown as skipped. */
const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

/** What promtool says of a file with rules that it takes. */
function promtool(file: string): string {
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "rules", file], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

describe("deploy/prometheus-rules.yml", () => {
  const file = join(root, "deploy/prometheus-rules.yml");

  it("prometheus-rules.yml names only metrics that the program with otel.yml has, in every rule", async () => {
    const { groups } = parse(readFileSync(file, "utf8")) as { groups: { rules: { expr: string }[] }[] };
    await expectKnown(groups.flatMap(({ rules }) => rules).map(({ expr }) => expr));
  });

  it.skipIf(!hasPromtool)("prometheus-rules.yml is valid for promtool", () => {
    expect(promtool(file)).toMatch(/SUCCESS: \d+ rules found/);
  });
});

describe("deploy/grafana-dashboard.json", () => {
  interface Panel {
    readonly type: string;
    readonly title: string;
    readonly id: number;
    readonly gridPos: { readonly x: number; readonly w: number };
    readonly targets?: readonly { readonly expr: string }[];
  }
  const { panels, templating } = JSON.parse(text("deploy/grafana-dashboard.json")) as {
    panels: Panel[];
    templating: { list: { query: string }[] };
  };

  it("grafana-dashboard.json names only metrics that the program with otel.yml has, in every panel and variable", async () => {
    const shown = panels.filter(({ type }) => type !== "row");
    expect(shown.length).toBeGreaterThan(10);
    expect(shown.filter(({ targets = [] }) => targets.length === 0)).toEqual([]);
    const variables = templating.list.map(({ query }) => query).filter((query) => query.startsWith("label_values"));
    await expectKnown([...shown.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)), ...variables]);
  });

  it.skipIf(!hasPromtool)("grafana-dashboard.json has expressions that promtool can read", () => {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-dashboard-"));
    try {
      const rules = panels
        .flatMap(({ targets = [] }) => targets)
        .map(({ expr }, at) => ({
          record: `panel:${at}`,
          expr: expr.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*"),
        }));
      const file = join(folder, "rules.json");
      writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
      expect(promtool(file)).toContain(`SUCCESS: ${rules.length} rules found`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("grafana-dashboard.json has panels with names and numbers of their own, none of which leaves the page", () => {
    const titles = panels.map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { title, gridPos } of panels) expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
  });
});

describe("README.md", () => {
  it("README.md names only metrics that the program with otel.yml has", async () => {
    const names = new Set(
      [...text("README.md").matchAll(/\b((?:omnishim|otelcol)_[a-z0-9_]+)/g)].map((match) => match[1] ?? ""),
    );
    expect(names.size).toBeGreaterThan(15);
    await running("node dist/main.js --config otel.yml", async (url) => {
      const page = await (await fetch(url)).text();
      const has = new Set([...page.matchAll(/^# HELP (\S+)/gm)].map((match) => match[1] ?? ""));
      expect([...names].filter((name) => !has.has(name))).toEqual([]);
    });
  });
});
