import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { command } from "../../test/kit/edge.ts";
import { DEPLOYMENTS } from "./init-config.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "omnishim-init-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const CHOICES: readonly (readonly string[])[] = [
  [],
  ["--queue", "/var/lib/omnishim/queue"],
  ["--log", "none"],
  ["--log", "/logs/a b.log", "/logs/*.log", "--listen", "::1", "--queue", "/q # 1"],
  ["--jaeger", "https://user:pa$$word@gateway:4318"],
  ["--jaeger", "[2001:db8::1]:4317", "--listen", "0.0.0.0"],
];

describe("omnishim init", () => {
  it.each(
    DEPLOYMENTS.flatMap((deployment) => CHOICES.map((choice) => [deployment, choice.join(" "), choice] as const)),
  )("init writes a file that validates, without a warning, for %s %s", async (deployment, _, choice) => {
    const file = join(folder, "otel.yml");
    expect(await command(["init", file, "--deployment", deployment, ...choice])).toMatchObject({ code: 0, stdout: "" });
    expect(await command(["validate", "--config", file])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("init writes what was chosen, and explains every section", async () => {
    const { stdout } = await command([
      "init",
      "-",
      "--jaeger",
      "http://jaeger:4318",
      "--log",
      "/a.log",
      "--listen",
      "0.0.0.0",
      "--queue",
      "/q",
    ]);
    const { receivers, exporters, extensions, service } = parse(stdout) as Record<string, never>;
    expect({ receivers, exporters, extensions }).toEqual({
      receivers: {
        otlp: { protocols: { grpc: { endpoint: "0.0.0.0:4317" }, http: { endpoint: "0.0.0.0:4318" } } },
        omni_proxy_log: { include: ["/a.log"], storage: "file_storage" },
      },
      exporters: {
        otlp_http: { endpoint: "http://jaeger:4318", sending_queue: { queue_size: 1000, storage: "file_storage" } },
      },
      extensions: { health_check: { endpoint: "localhost:13133" }, file_storage: { directory: "/q" } },
    });
    expect(service).toMatchObject({ extensions: ["file_storage", "health_check"] });
    expect(stdout.match(/^\s*# \S/gm)?.length).toBeGreaterThan(8);
  });

  it("init writes lines that make the queue durable when their # is taken away", async () => {
    const { stdout } = await command(["init", "-"]);
    const { stdout: durable } = await command(["init", "-", "--queue", "/var/lib/omnishim/queue"]);
    const uncommented = stdout
      .replaceAll("# storage: file_storage", "storage: file_storage")
      .replaceAll(/^ {2}# (?= *(?:file_storage:|directory: ))/gm, "  ")
      .replace("[health_check] # file_storage", "[file_storage, health_check]");
    expect(parse(uncommented)).toEqual(parse(durable));
  });

  it("init leaves a file as it is when there is one", async () => {
    const file = join(folder, "otel.yml");
    writeFileSync(file, "mine");
    const { code, stderr } = await command(["init", file]);
    expect(code).toBe(1);
    expect(stderr).toContain("is there already and was left as it is");
    expect(readFileSync(file, "utf8")).toBe("mine");
  });

  it("init writes nothing when what it was given is no endpoint", async () => {
    const file = join(folder, "otel.yml");
    const { code, stderr } = await command(["init", file, "--jaeger", "jaeger"]);
    expect(code).toBe(1);
    expect(stderr).toContain("missing port in address; for example jaeger:4317");
    expect(() => readFileSync(file)).toThrow("ENOENT");
  });
});
