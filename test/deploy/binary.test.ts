import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, inject, it } from "vitest";
import { accepts, freePorts, Program } from "../kit/process.ts";
import { Directory, find } from "./machine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

const executable = inject("executable");
const folder = mkdtempSync(join(tmpdir(), "omnishim-binary-test-"));
const rootless = process.getuid?.() === 0 && find("chroot") !== undefined ? undefined : "chroot needs root";
const missing = rootless ?? executable.skipped;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(missing !== undefined)(
  `the executable in a root file system without Node${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    const place = join(folder, "root");
    const running: Program[] = [];

    /** The executable as the only program there is; nothing of this machine's environment but what is given. */
    function omnishim(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
      const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const program = new Program("env", ["-i", ...settings, find("chroot") ?? "", place, "/omnishim", ...args]);
      running.push(program);
      return program;
    }

    if (missing === undefined) {
      const directory = new Directory(place);
      directory.program(executable.path ?? "", "omnishim");
      copyFileSync(join(root, "otel.yml"), join(place, "etc/otel.yml"));
    }

    afterEach(async () => {
      for (const program of running.splice(0)) await program.stop();
    });

    it("the root file system has the executable, its libraries and one configuration file", () => {
      const files = execFileSync("find", [place, "-type", "f", "-printf", "%P\n"], { encoding: "utf8" })
        .trim()
        .split("\n");
      const others = files.filter((file) => !/\/(lib[^/]+\.so[.\d]*|ld-linux[^/]*\.so[.\d]*)$/.test(`/${file}`));
      expect(others.sort()).toEqual(["etc/otel.yml", "etc/passwd", "omnishim"]);
      expect(statSync(join(place, "omnishim")).size).toBeLessThan(200e6);
    });

    it("the executable says its version", async () => {
      const program = omnishim(["--version"]);
      expect(await program.exit(), program.output).toEqual({ code: 0, signal: undefined });
      expect(program.output).toMatch(/^omnishim version \d+\.\d+\.\d+\n$/);
    });

    it("the executable runs the demo", async () => {
      const program = omnishim(["demo"]);
      expect(await program.exit(60_000), program.output).toEqual({ code: 0, signal: undefined });
      expect(program.output).toContain("requests  8: ");
    });

    it("the executable names the line when a configuration is wrong", async () => {
      const program = omnishim([
        "validate",
        "--config",
        "/etc/otel.yml",
        "--set",
        "exporters::otlp::endpont=jaeger:4317",
      ]);
      expect(await program.exit(), program.output).toEqual({ code: 1, signal: undefined });
      expect(program.output).toContain("endpont");
    });

    it("the executable answers every conformance case as the Collector does, and stops at SIGTERM", async () => {
      const [grpc, http, metrics] = (await freePorts(3)) as [number, number, number];
      const config = [
        "receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:GRPC}, http: {endpoint: 127.0.0.1:HTTP}}}}",
        "exporters: {nop: }",
        "service: {pipelines: {traces: {receivers: [otlp], exporters: [nop]}}, telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: METRICS}}}}]}}}",
      ].join("\n");
      const text = config
        .replace("GRPC", String(grpc))
        .replace("HTTP", String(http))
        .replace("METRICS", String(metrics));
      const program = omnishim(["--config", "env:CONFIG"], { CONFIG: text });
      await program.line(/Everything is ready/);
      await accepts(http, program);
      const args = ["--grpc", `127.0.0.1:${grpc}`, "--http", `127.0.0.1:${http}`];
      const cases = new Program(process.execPath, [join(root, "test/conformance/run.mjs"), ...args]);
      running.push(cases);
      expect(await cases.exit(60_000), cases.output).toEqual({ code: 0, signal: undefined });
      expect(cases.output).toContain("44 passed, 0 failed");
      expect(await program.stop(), program.output).toEqual({ code: 0, signal: undefined });
    });
  },
);
