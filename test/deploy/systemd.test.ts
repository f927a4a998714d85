import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { OtlpClient } from "../kit/otlp-client.ts";
import { accepts, freePorts, Program } from "../kit/process.ts";
import { readSpans } from "../kit/spans.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, "deploy/systemd");
const units = ["omnishim", "jaeger-v1", "jaeger-v2"];
const peers = inject("peers");
const executable = inject("executable");

function text(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}

/** The words of a unit's ExecStart, continued lines joined. */
function execStart(unit: string): string[] {
  const line = /^ExecStart=(.*)$/m.exec(text(unit).replaceAll("\\\n", ""))?.[1] ?? "";
  return line.split(/ +/).filter((word) => word !== "");
}

const places: string[] = [];
function place(): string {
  const path = mkdtempSync(join(tmpdir(), "omnishim-systemd-"));
  places.push(path);
  return path;
}
afterAll(() => {
  for (const path of places.splice(0)) rmSync(path, { recursive: true, force: true });
});

const analyze = spawnSync("systemd-analyze", ["--version"]).status === 0;

describe.skipIf(!analyze)(`units${analyze ? "" : " (skipped: systemd-analyze is not installed)"}`, () => {
  it.each(units)("%s.service has nothing that systemd-analyze verify finds", (unit) => {
    const file = join(place(), `${unit}.service`);
    // The programs are not installed here, which verify would find.
    const unitText = text(`${unit}.service`).replaceAll(/^(ExecStart(?:Pre)?)=\/opt\/\S+/gm, "$1=/bin/true");
    writeFileSync(file, unitText);
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it.each(units)("%s.service is exposed at most 1.5 of 10, says systemd-analyze security", (unit) => {
    const args = ["security", "--offline=true", "--threshold=15", join(folder, `${unit}.service`)];
    const { status, stdout } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
    expect(status, stdout).toBe(0);
  });
});

describe("install.sh", () => {
  const destination = place();
  const install = (...args: string[]): string =>
    execFileSync(join(folder, "install.sh"), args, { encoding: "utf8", env: { ...process.env, DESTDIR: destination } });
  const at = (path: string): string => join(destination, path);

  beforeAll(() => {
    install();
  }, 120_000);

  it("install.sh puts a program in place that takes the configuration it puts beside it", async () => {
    const program = new Program(at("opt/omnishim/omnishim"), ["validate", "--config", at("etc/omnishim/otel.yml")]);
    try {
      expect(await program.exit(), program.output).toEqual({ code: 0, signal: undefined });
    } finally {
      await program.stop();
    }
    const unit = readFileSync(at("etc/systemd/system/omnishim.service"), "utf8");
    expect(unit).toContain("/opt/omnishim/omnishim --config /etc/omnishim/otel.yml");
  });

  it.skipIf(executable.path === undefined)(
    `install.sh --binary puts the executable in the same place${executable.skipped ? ` (skipped: ${executable.skipped})` : ""}`,
    async () => {
      install("--binary", executable.path ?? "");
      try {
        expect(existsSync(at("opt/omnishim/dist"))).toBe(false);
        expect(readFileSync(at("opt/omnishim/THIRD-PARTY-LICENSES.txt"), "utf8")).toContain("\nprotobufjs 7.");
        const program = new Program(at("opt/omnishim/omnishim"), ["--version"], { env: { PATH: "/nowhere" } });
        expect(await program.exit(), program.output).toEqual({ code: 0, signal: undefined });
      } finally {
        install();
      }
    },
    60_000,
  );

  it("install.sh keeps changed settings and replaces the program when it is run again", () => {
    writeFileSync(at("etc/omnishim/omnishim.env"), "JAEGER_ENDPOINT=elsewhere:4317\n");
    writeFileSync(at("opt/omnishim/dist/main.js"), "broken");
    install();
    expect(readFileSync(at("etc/omnishim/omnishim.env"), "utf8")).toBe("JAEGER_ENDPOINT=elsewhere:4317\n");
    expect(readFileSync(at("opt/omnishim/dist/main.js"), "utf8")).not.toBe("broken");
  }, 120_000);

  it("install.sh says what is wrong with its arguments", () => {
    const refused = (...args: string[]): string =>
      spawnSync(join(folder, "install.sh"), args, { encoding: "utf8", env: { ...process.env, DESTDIR: destination } })
        .stderr;
    expect(refused("--remove")).toContain("unknown: --remove");
    expect(refused("--jaeger", "v1", at("no-such-file"))).toContain("no-such-file is not a program");
    expect(refused("--binary", at("no-such-file"))).toContain("no-such-file is not a program");
    expect(refused("--jaeger", "v3", process.execPath)).toContain("v1 or v2, not v3");
  });

  it("install.sh --uninstall takes away programs and units and keeps settings, also twice", () => {
    install("--jaeger", "v2", process.execPath);
    expect(existsSync(at("etc/jaeger/jaeger-v2.yml"))).toBe(true);
    install("--uninstall");
    install("--uninstall");
    const gone = [
      "opt/omnishim",
      "etc/logrotate.d/omnishim",
      "opt/jaeger/jaeger",
      ...units.map((unit) => `etc/systemd/system/${unit}.service`),
    ];
    expect(gone.filter((path) => existsSync(at(path)))).toEqual([]);
    expect(existsSync(at("etc/omnishim/omnishim.env"))).toBe(true);
  });
});

describe.each(["v1", "v2"] as const)("Jaeger %s as its unit starts it", (version) => {
  const binary = peers[`jaeger-${version}`]?.path;
  const running: Program[] = [];
  afterEach(async () => {
    for (const program of running.splice(0)) await program.stop("SIGKILL");
  });

  it.skipIf(binary === undefined)(
    "keeps its traces over a restart",
    async () => {
      const data = place();
      mkdirSync(join(data, "lib"));
      const ports = new Map<string, number>();
      const named = ["14317", "14318", "16686", "14269", "16685", "18888", "14250"];
      for (const [index, port] of (await freePorts(named.length)).entries()) ports.set(named[index] ?? "", port);
      // Everything as it is deployed but for the ports and the folder, which are this test's.
      const moved = (words: string): string =>
        words
          .replaceAll(/(localhost|0\.0\.0\.0):(\d+)/g, (_, _host, port: string) => `127.0.0.1:${ports.get(port)}`)
          .replaceAll("port: 18888", `port: ${ports.get("18888")}`)
          .replaceAll("/var/lib/jaeger", join(data, "lib"))
          .replaceAll("/etc/jaeger", data);
      if (version === "v2") writeFileSync(join(data, "jaeger-v2.yml"), moved(text("jaeger-v2.yml")));
      const [, ...args] = execStart(`jaeger-${version}.service`).map(moved);
      // The ports that a unit leaves at their defaults, which may be taken on the machine that runs the tests.
      const others = ["collector.grpc-server", "collector.http-server", "query.grpc-server", "http-server"]
        .concat([
          "processor.jaeger-binary.server",
          "processor.jaeger-compact.server",
          "processor.zipkin-compact.server",
        ])
        .map((name) => `--${name}${name.startsWith("processor") ? "-" : "."}host-port=127.0.0.1:0`);
      const environment = Object.fromEntries(
        [...text(`jaeger-${version}.service`).matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, key, value]) => [
          key,
          value,
        ]),
      );
      const start = async (): Promise<Program> => {
        const program = new Program(binary ?? "", [...args, ...(version === "v1" ? others : [])], { env: environment });
        running.push(program);
        for (const port of ["14317", "16686", "14269"]) await accepts(ports.get(port) ?? 0, program, 40_000);
        return program;
      };

      const first = await start();
      const bytes = readFileSync(join(root, "demo/capture/otlp/0012.pb"));
      const client = new OtlpClient(`127.0.0.1:${ports.get("14317")}`);
      await client.send("traces", bytes).finally(() => client.close());
      const id = readSpans(bytes)[0]?.traceId;
      const stored = async (): Promise<boolean> =>
        (await fetch(`http://127.0.0.1:${ports.get("16686")}/api/traces/${id}`)).ok;
      await expect.poll(stored, { timeout: 20_000 }).toBe(true);
      await first.stop("SIGTERM", 30_000);
      await start();
      await expect.poll(stored, { timeout: 20_000 }).toBe(true);
    },
    150_000,
  );
});
