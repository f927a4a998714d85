import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { CommandRun, command } from "../../test/kit/edge.ts";
import { StopSignal } from "./edge.ts";

const DOCUMENTS = fileURLToPath(new URL("../../test/fixtures/config/documents-otel.yml", import.meta.url));
const OTEL = fileURLToPath(new URL("../../otel.yml", import.meta.url));
/** A whole configuration that binds nothing. */
const NOP =
  "yaml:{receivers: {nop: }, exporters: {nop: }, service: {pipelines: {traces: {receivers: [nop], exporters: [nop]}}, telemetry: {metrics: {level: none}}}}";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cli-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function file(text: string, name = "otel.yml"): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

describe("omnishim validate", () => {
  it.each([
    ["the documents' file", DOCUMENTS],
    ["the repository's otel.yml", OTEL],
  ])("is silent when %s is given", async (_, path) => {
    expect(await command(["validate", "--config", path])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("prints every problem with its place, line and what to do", async () => {
    const path = await file(`receivers:
  otlp:
    protocols:
      grpc:
        endpont: 0.0.0.0:4317
exporters:
  jaeger:
    endpoint: jaeger:14250
service:
  pipelines:
    traces:
      receivers: [otlp]
      procesors: [batch]
      exporters: [jaeger]
`);
    const { code, stderr } = await command(["validate", `--config=${path}`]);
    expect(code).toBe(1);
    expect(
      stderr.replaceAll(folder, ""),
    ).toBe(`Error: receivers::otlp::protocols::grpc::endpont: 'grpc' has invalid keys: endpont
  --> /otel.yml:5:9
   |
 5 |         endpont: 0.0.0.0:4317
   |         ^^^^^^^
   = did you mean \`endpoint\`?

Error: exporters::jaeger: unknown type: "jaeger" for id: "jaeger" (valid values: [${await exporterTypes()}])
  --> /otel.yml:7:3
   |
 7 |   jaeger:
   |   ^^^^^^
   = Jaeger takes OTLP natively (since 1.35): write an exporter \`otlp\` with endpoint JAEGER_HOST:4317 and, without TLS, \`tls: {insecure: true}\`

Error: service::pipelines::traces::procesors: 'traces' has invalid keys: procesors
   --> /otel.yml:13:7
    |
 13 |       procesors: [batch]
    |       ^^^^^^^^^
    = did you mean \`processors\`?

3 problems in the configuration
`);
  });

  it("prints the Collector's line when a reference dangles", async () => {
    const { code, stderr } = await command([
      "validate",
      "--config",
      NOP,
      "--set",
      "service::pipelines::traces::exporters=[nope]",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('Error: service::pipelines::traces: references exporter "nope" which is not configured\n');
    expect(stderr).toContain(" --> --set service::pipelines::traces::exporters=[nope]:1:41\n");
  });

  it("names the file when it is missing, is no file, or is no YAML", async () => {
    expect(await command(["validate", "--config", join(folder, "nope.yml")])).toMatchObject({
      code: 1,
      stderr: `Error: cannot retrieve the configuration: unable to read the file file:${folder}/nope.yml: open ${folder}/nope.yml: no such file or directory\n`,
    });
    expect((await command(["validate", "--config", folder])).stderr).toContain("is a directory");
    const { stderr } = await command(["validate", "--config", await file("receivers:\n  otlp: [\n")]);
    expect(stderr).toMatch(/^Error: not valid YAML: .*\n {2}--> .*otel\.yml:\d+:\d+\n/);
  });

  it("says which variable is not set when its absence makes the configuration wrong", async () => {
    const { code, stderr } = await command([
      "validate",
      "--config",
      NOP,
      "--set=exporters::otlp::endpoint=${env:JAEGER_HOST_X}",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("Warning: Configuration references unset environment variable JAEGER_HOST_X\n");
    expect(stderr).toContain("Error: exporters::otlp::endpoint: ");
  });

  it("names OMNISHIM_LISTEN_HOST when that is no host", async () => {
    expect(await command(["validate", "--config", OTEL], { OMNISHIM_LISTEN_HOST: "0.0.0.0:4317" })).toEqual({
      code: 1,
      stdout: "",
      stderr:
        'Error: environment variable OMNISHIM_LISTEN_HOST: "0.0.0.0:4317" is not a host: write an address or a name without a port, such as 0.0.0.0, localhost or ::1\n',
    });
  });

  it("asks for a file when it has none", async () => {
    expect(await command(["validate"])).toEqual({
      code: 1,
      stdout: "",
      stderr: "Error: at least one config flag must be provided\n",
    });
  });

  it("warns and succeeds when there is something to know", async () => {
    const { code, stderr } = await command([
      "validate",
      "--config",
      NOP,
      "--set=exporters::nop/b=",
      "--feature-gates=-x",
    ]);
    expect(code).toBe(0);
    expect(stderr).toBe(
      "Warning: --feature-gates -x is accepted and has no effect: this program has no feature gates\n" +
        "Warning: exporters::nop/b is configured and not used in any pipeline\n",
    );
  });
});

async function exporterTypes(): Promise<string> {
  const { stdout } = await command(["components"]);
  const { exporters } = parse(stdout) as { exporters: { name: string; aliases?: string[] }[] };
  return exporters
    .flatMap(({ name, aliases = [] }) => [name, ...aliases])
    .sort()
    .join(" ");
}

describe("omnishim print-config", () => {
  it("fills in defaults and hides secrets, also those from the environment", async () => {
    const env = { TOKEN: "s3cr3t", PORT: "4317" };
    const path = await file(`receivers: {nop: }
exporters:
  otlp:
    endpoint: "jaeger:\${env:PORT}"
    headers: {authorization: "Bearer \${env:TOKEN}"}
service: {pipelines: {traces: {receivers: [nop], exporters: [otlp]}}}
`);
    const { code, stdout, stderr } = await command(["print-config", "--config", path], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toContain("s3cr3t");
    expect(parse(stdout)).toMatchObject({
      exporters: {
        otlp: {
          endpoint: "jaeger:4317",
          headers: { authorization: "[REDACTED]" },
          compression: "gzip",
          timeout: "5s",
          sending_queue: { enabled: true, queue_size: 1000 },
        },
      },
      service: { telemetry: { logs: { level: "info" } } },
    });
    const unredacted = await command(["print-config", "--mode=unredacted", "--format=json", "--config", path], env);
    expect(JSON.parse(unredacted.stdout)).toMatchObject({
      exporters: { otlp: { endpoint: "jaeger:4317", headers: { authorization: "Bearer s3cr3t" } } },
    });
  });

  it("prints what can be given back to --config", async () => {
    const first = await command(["print-config", "--config", DOCUMENTS]);
    const second = await command(["print-config", "--config", await file(first.stdout, "again.yml")]);
    expect(second).toEqual(first);
  });

  it("prints the built-in default when it has no file, with Omni Proxy's log when that is named", async () => {
    const pipelines = async (env: Record<string, string>) => {
      const { code, stdout } = await command(["print-config"], env);
      expect(code).toBe(0);
      return parse(stdout) as { receivers: Record<string, { include?: string[] }>; service: { pipelines: object } };
    };
    const plain = await pipelines({});
    expect(Object.keys(plain.service.pipelines)).toEqual(["traces/in", "traces"]);
    expect(plain).toMatchObject({
      receivers: {
        otlp: { protocols: { grpc: { endpoint: "localhost:4317" }, http: { endpoint: "localhost:4318" } } },
      },
    });
    const path = "/var/log/$ODD ${env:NO} name, {a}: #1.log";
    const logged = await pipelines({ OMNISHIM_LOG: path });
    expect(logged.receivers["omni_proxy_log"]?.include).toEqual([path]);
    expect(Object.keys(logged.service.pipelines)).toEqual(["logs", "traces/in", "traces"]);
  });

  it("refuses a mode or a format that it does not know", async () => {
    expect((await command(["print-config", "--mode=x", "--config", NOP])).stderr).toBe(
      'Error: invalid mode "x": modes are: redacted, unredacted\n',
    );
    expect((await command(["print-config", "--format=x", "--config", NOP])).stderr).toBe(
      "Error: unrecognized print format: x: formats are: yaml, json\n",
    );
  });
});

describe("omnishim components", () => {
  it("lists every component with its signals, stability and other names", async () => {
    const { code, stdout } = await command(["components"]);
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({
      buildinfo: { command: "omnishim" },
      receivers: expect.arrayContaining([
        { name: "otlp", stability: { traces: "Stable", metrics: "Stable", logs: "Stable" } },
      ]),
      exporters: expect.arrayContaining([expect.objectContaining({ name: "otlp_grpc", aliases: ["otlp"] })]),
      connectors: [{ name: "request_merge", stability: { "logs-to-traces": "Beta", "traces-to-traces": "Beta" } }],
      extensions: expect.arrayContaining([expect.objectContaining({ name: "health_check" })]),
      providers: [{ scheme: "env" }, { scheme: "file" }, { scheme: "yaml" }],
    });
  });
});

describe("omnishim", () => {
  it("prints version and help to stdout", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    for (const flag of ["--version", "-v"])
      expect(await command([flag])).toEqual({ code: 0, stdout: `omnishim version ${version}\n`, stderr: "" });
    const { code, stdout } = await command(["--help"]);
    expect(code).toBe(0);
    for (const word of ["--config", "--set", "validate", "components", "print-config"]) expect(stdout).toContain(word);
  });

  it.each([
    [["validat"], 'Error: unknown command "validat" for "omnishim"; did you mean validate?'],
    [["otel.yml"], 'Error: unknown command "otel.yml" for "omnishim"; for a file write --config otel.yml'],
    [["--confg", "x"], "Error: unknown option '--confg'"],
    [["--config"], "Error: option '--config <location>' argument missing"],
    [["--config", NOP, "--shutdown-timeout", "soon"], 'Error: invalid --shutdown-timeout "soon"'],
  ])("refuses %j with one line", async (args, message) => {
    const { code, stderr } = await command(args);
    expect(code).toBe(1);
    expect(stderr.startsWith(message)).toBe(true);
  });

  it("runs until it is told to stop, and ends with 0", async () => {
    const run = new CommandRun(["--config", NOP]);
    await run.line(/Everything is ready\. Begin running and processing data\./);
    run.stop(new StopSignal("SIGTERM"));
    expect(await run.code).toBe(0);
    expect(run.stderr).toContain('Received signal from OS\t{"signal":"SIGTERM"}');
    expect(run.stderr).toContain("Shutdown complete.");
  });

  it("drains and ends with 1 when something nobody caught stops it", async () => {
    const run = new CommandRun(["--config", NOP]);
    await run.line(/Everything is ready/);
    run.stop(new Error("boom"));
    expect(await run.code).toBe(1);
    expect(run.stderr).toContain('The program cannot go on and stops\t{"error":"boom"}');
    expect(run.stderr).toContain("Shutdown complete.");
  });

  it("logs as service::telemetry::logs says", async () => {
    const path = join(folder, "own.log");
    const run = new CommandRun([
      `--config=${NOP}`,
      `--set=service::telemetry::logs={level: WARN, encoding: json, output_paths: [${path}, stderr], initial_fields: {region: eu}}`,
      "--set=service::telemetry::resource={team: x}",
      "--set=exporters::nop/b=",
    ]);
    await run.line(/not used in any pipeline/);
    run.stop(new StopSignal("SIGINT"));
    expect(await run.code).toBe(0);
    const lines = run.stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "warn",
      msg: "exporters::nop/b is configured and not used in any pipeline",
      region: "eu",
      resource: { team: "x" },
    });
    expect(await readFile(path, "utf8")).toBe(run.stderr);
  });

  it("names the setting when its log cannot be opened", async () => {
    const { code, stderr } = await command([
      `--config=${NOP}`,
      `--set=service::telemetry::logs::output_paths=[${folder}/no/own.log]`,
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^Error: failed to open the log: ENOENT.*; change service::telemetry::logs::output_paths\n$/,
    );
  });

  it("serves its metrics in Prometheus format, and says where", async () => {
    const run = new CommandRun([
      `--config=${NOP}`,
      "--set=service::telemetry::metrics={level: detailed, readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 0}}}}]}",
      "--set=service::telemetry::resource={service.version: null, team: x}",
    ]);
    const [, url = ""] = await run.line(/Metrics are at (\S+): only this machine can reach it/);
    const response = await fetch(url);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    expect(text).toMatch(/^# TYPE otelcol_process_uptime counter\notelcol_process_uptime \d/m);
    expect(text).toMatch(/^otelcol_process_cpu_seconds \d/m);
    expect(text).toMatch(/^otelcol_process_memory_rss \d{7,}/m);
    expect(text).toMatch(/^target_info\{service_name="omnishim",service_instance_id="[^"]+",team="x"\} 1$/m);
    expect((await fetch(url.replace("/metrics", "/"))).status).toBe(404);
    run.stop(new StopSignal("SIGTERM"));
    expect(await run.code).toBe(0);
    await expect(fetch(url)).rejects.toThrow();
  });

  it("warns and goes on when its metrics port is taken", async () => {
    const args = (address: string) => [
      `--config=${NOP}`,
      `--set=service::telemetry::metrics={level: basic, address: "${address}"}`,
    ];
    const first = new CommandRun(args("127.0.0.1:0"));
    const [, port = ""] = await first.line(/Metrics are at http:\/\/127\.0\.0\.1:(\d+)\//);
    const second = new CommandRun(args(`127.0.0.1:${port}`));
    await second.line(/Everything is ready/);
    expect(second.stderr).toMatch(
      new RegExp(
        `warn\\tThere is no metrics page: listen tcp 127\\.0\\.0\\.1:${port}: bind: address already in use; pid ${process.pid} .*service::telemetry::metrics::address`,
      ),
    );
    for (const run of [second, first]) {
      run.stop(new StopSignal("SIGTERM"));
      expect(await run.code).toBe(0);
    }
  });

  it("ends with one readable error when a port is taken", async () => {
    const taken = new CommandRun([
      `--config=${NOP}`,
      "--set=extensions::health_check::endpoint=127.0.0.1:0",
      "--set=service::extensions=[health_check]",
    ]);
    const [, address = ""] = await taken.line(/Health check is at http:\/\/([^/]+)\//);
    const { code, stderr } = await command([
      `--config=${NOP}`,
      `--set=receivers::otlp::protocols::grpc::endpoint=${address}`,
      "--set=service::pipelines::traces::receivers=[otlp]",
    ]);
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(
      new RegExp(
        `^Error: cannot start pipelines: failed to start "otlp" receiver: .*listen tcp ${address}: bind: address already in use; pid ${process.pid} .*receivers::otlp::protocols::grpc::endpoint`,
      ),
    );
    taken.stop(new StopSignal("SIGTERM"));
    expect(await taken.code).toBe(0);
  });

  it("says once that a name is an alias", async () => {
    const run = new CommandRun([
      `--config=${NOP}`,
      "--set=exporters={nop: , otlp: {endpoint: 'localhost:1'}, otlp/2: {endpoint: 'localhost:1'}}",
      "--set=service::pipelines::traces::exporters=[nop, otlp, otlp/2]",
    ]);
    await run.line(/Everything is ready/);
    expect(run.stderr.match(/"otlp" is an alias of the exporter "otlp_grpc"/g)).toHaveLength(1);
    run.stop(new StopSignal("SIGTERM"));
    expect(await run.code).toBe(0);
  });

  it("warns of an unset variable, and takes its default when there is one", async () => {
    const run = new CommandRun([
      `--config=${NOP}`,
      "--set=service::telemetry::logs::level=${env:LEVEL:-debug}",
      "--set=service::telemetry::resource={a: '${env:NOPE}'}",
    ]);
    await run.line(/Everything is ready/);
    expect(run.stderr).toContain("warn\tConfiguration references unset environment variable NOPE");
    expect(run.stderr).not.toContain("LEVEL");
    run.stop(new StopSignal("SIGTERM"));
    expect(await run.code).toBe(0);
  });
});
