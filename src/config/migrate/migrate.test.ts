import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { command } from "../../../test/kit/edge.ts";

const fixtures = fileURLToPath(new URL("../../../test/fixtures/config/", import.meta.url));
const ENV = {
  ...{ JAEGER_HOST: "jaeger", JAEGER_ENDPOINT: "jaeger:4317", B: "true", N: "5" },
  ...{ OMNISHIM_LOG: "/var/log/omni/nginx_error.log", OMNISHIM_ACCESS_LOG: "/var/log/omni/nginx_access.log" },
  OMNI_SERVICE_NAME: "omni-proxy",
};

interface Answer {
  readonly text: string;
  readonly changes: readonly { line: number; key: string; what: string; reason: string }[];
  readonly remarks: readonly { line: number; key: string; what: string }[];
  readonly problems: readonly { problem: string }[];
}

function read(name: string): string {
  return readFileSync(`${fixtures}${name}`, "utf8");
}

const folder = mkdtempSync(join(tmpdir(), "omnishim-migrate-"));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;

/** A file with this text. */
function file(yaml: string): string {
  const path = join(folder, `${++count}.yml`);
  writeFileSync(path, yaml);
  return path;
}

/** What `omnishim migrate --json` says. */
async function migrate(path: string, ...args: readonly string[]): Promise<Answer> {
  const { stdout, stderr } = await command(["migrate", path, "--json", ...args], ENV);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as Answer;
}

describe("omnishim migrate", () => {
  it("migrate gives the newest equivalent, with comments, quotes and order as they were, for a file of 0.103", async () => {
    const { code, stdout, stderr } = await command(["migrate", `${fixtures}migrate/old.yml`], ENV);
    expect(stdout).toBe(read("migrate/new.yml"));
    expect(code).toBe(0);
    expect(stderr.split("\n")).toContain(
      `${fixtures}migrate/old.yml:22: exporters::otlp: the exporter \`otlp\` becomes \`otlp_grpc\`: renamed in 0.144; the old name is a deprecated alias (#14403)`,
    );
  });

  it("migrate gives a reason for every line that differs", async () => {
    const { changes } = await migrate(`${fixtures}migrate/old.yml`);
    expect(changes.every(({ reason }) => /#\d+|this program/.test(reason))).toBe(true);
    expect(changes.map(({ line }) => line)).toEqual([...changes].map(({ line }) => line).sort((a, b) => a - b));
    expect(changes.map(({ key }) => key)).toEqual([
      "extensions::memory_ballast",
      "extensions::zpages",
      "extensions::health_check::endpoint",
      "receivers::otlp::protocols::grpc::endpoint",
      "exporters::logging",
      "exporters::logging::loglevel",
      "exporters::otlp",
      "exporters::otlp::endpoint",
      "exporters::otlp::batcher",
      "exporters::otlp::sending_queue::blocking",
      "exporters::otlp/old",
      "exporters::otlp/old",
      "exporters::otlphttp",
      "exporters::jaeger",
      "exporters::jaeger::endpoint",
      "service::telemetry::metrics::address",
    ]);
  });

  it("migrate opens the gRPC port of OmniInfer's own file, which 0.104 closed, and says so", async () => {
    const { text, changes, remarks, problems } = await migrate(`${fixtures}documents-otel.yml`);
    expect(text).toBe(
      read("documents-otel.yml")
        .replace("      grpc:\n", "      grpc:\n        endpoint: 0.0.0.0:4317\n")
        .replace("  otlp:\n    endpoint: jaeger", "  otlp_grpc:\n    endpoint: jaeger")
        .replace("exporters: [otlp]", "exporters: [otlp_grpc]"),
    );
    expect(changes.map(({ line }) => line)).toEqual([4, 10]);
    expect(remarks.map(({ key }) => key)).toEqual([
      "receivers::otlp::protocols::http::endpoint",
      "service::telemetry::metrics",
    ]);
    expect(problems).toEqual([]);
  });

  it("migrate leaves defaults alone when the file was written for a Collector that has them already", async () => {
    const { text } = await migrate(`${fixtures}documents-otel.yml`, "--from", "0.120.1");
    expect(text).toContain("      grpc:\n      http:");
  });

  it.each(["migrate/new.yml", "../../../otel.yml", "../../../deploy/compose/omni-proxy/otel.yml"])(
    "migrate gives its own result for %s back to the byte",
    async (name) => {
      const first = await migrate(`${fixtures}${name}`, "--from", "0.150");
      const again = await migrate(file(first.text), "--from", "0.150");
      expect(again.changes).toEqual([]);
      expect(again.text).toBe(first.text);
      expect(first.problems).toEqual([]);
    },
  );

  it.each(
    (JSON.parse(read("verdicts.json")) as { name: string; yaml: string; valid: boolean }[]).filter(
      ({ valid }) => valid,
    ),
  )(
    "migrate makes a file that runs and needs nothing more of one that the Collector takes: $name",
    async ({ name, yaml }) => {
      const first = await migrate(file(yaml));
      // Two servers on one port: the Collector notices when it starts.
      if (name !== "sameport" && name !== "enc" && name !== "floatint2") expect(first.problems).toEqual([]);
      const again = await migrate(file(first.text));
      expect(again.changes).toEqual([]);
      expect(again.text).toBe(first.text);
    },
  );

  it.each([
    [
      "a map in flow style",
      "receivers: {otlp: {protocols: {grpc: , http: {}}}}",
      "receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}, http: {endpoint: 0.0.0.0:4318}}}}",
    ],
    [
      "a null written out",
      "receivers:\n  otlp:\n    protocols:\n      grpc: ~ # all\n",
      "receivers:\n  otlp:\n    protocols:\n      grpc: # all\n        endpoint: 0.0.0.0:4317\n",
    ],
    [
      "four spaces",
      "receivers:\n    otlp:\n        protocols:\n            grpc:\n",
      "receivers:\n    otlp:\n        protocols:\n            grpc:\n                endpoint: 0.0.0.0:4317\n",
    ],
    [
      "other keys",
      "receivers:\n  otlp:\n    protocols:\n      grpc:\n        # four\n        max_recv_msg_size_mib: 4\n",
      "receivers:\n  otlp:\n    protocols:\n      grpc:\n        # four\n        endpoint: 0.0.0.0:4317\n        max_recv_msg_size_mib: 4\n",
    ],
    [
      "no line feed at the end",
      "receivers:\n  otlp:\n    protocols:\n      grpc:",
      "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 0.0.0.0:4317",
    ],
    [
      "CRLF",
      "receivers:\r\n  otlp:\r\n    protocols:\r\n      grpc:\r\n        keepalive:\r\n",
      "receivers:\r\n  otlp:\r\n    protocols:\r\n      grpc:\r\n        endpoint: 0.0.0.0:4317\r\n        keepalive:\r\n",
    ],
  ])("migrate writes an endpoint in the style of the file when it has %s", async (_, before, after) => {
    expect((await migrate(file(before))).text).toBe(after);
  });

  it("migrate gives both exporters a name when two would have the same one", async () => {
    const { text } = await migrate(
      file(
        'exporters: {otlp: {endpoint: "a:1"}, otlp_grpc: {endpoint: "b:1"}}\nservice: {pipelines: {traces: {exporters: [otlp, otlp_grpc]}}}\n',
      ),
    );
    expect(text).toBe(
      'exporters: {otlp_grpc/2: {endpoint: "a:1"}, otlp_grpc: {endpoint: "b:1"}}\nservice: {pipelines: {traces: {exporters: [otlp_grpc/2, otlp_grpc]}}}\n',
    );
  });

  it("migrate prints what is left to do by hand, and ends with 1, when a component has no equivalent here", async () => {
    const yaml =
      "receivers: {kafka: }\nexporters: {debug: }\nservice: {pipelines: {traces: {receivers: [kafka], exporters: [debug]}}}\n";
    const { code, stdout, stderr } = await command(["migrate", file(yaml)]);
    expect(code).toBe(1);
    expect(stdout).toBe(yaml);
    expect(stderr).toContain('unknown type: "kafka"');
  });

  it("migrate points at the line when the file is no YAML", async () => {
    const { code, stderr } = await command(["migrate", file("a: [1\nb: 2\n")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/not valid YAML[\s\S]*:2:1/);
  });

  it("migrate names the file when it cannot be read", async () => {
    const { code, stderr } = await command(["migrate", `${fixtures}none.yml`]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^Error: cannot read .*none\.yml: ENOENT/);
  });
});
