import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Program } from "../kit/process.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

describe("npm package", () => {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-package-"));
  const installed = join(folder, "node_modules", "omnishim");
  let packed: string[];

  beforeAll(() => {
    const answer = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [{ filename, files }] = JSON.parse(answer) as [{ filename: string; files: { path: string }[] }];
    packed = files.map(({ path }) => path);
    mkdirSync(installed, { recursive: true });
    execFileSync("tar", ["-xzf", join(folder, filename), "-C", installed, "--strip-components=1"]);
    // Dependencies as npm install would put them beside the package.
    symlinkSync(join(root, "node_modules"), join(installed, "node_modules"));
  }, 60_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("npm package has what the program needs at run time, and no tests", () => {
    expect(packed).toEqual(
      expect.arrayContaining(["dist/main.js", "otel.yml", "LICENSE", "README.md", "CHANGELOG.md"]),
    );
    expect(packed).toEqual(expect.arrayContaining(["demo/capture/nginx_error.log", "demo/capture/otlp/0012.pb"]));
    expect(packed).toContain("proto/opentelemetry/proto/trace/v1/trace.proto");
    expect(packed.filter((path) => /\.test\.|^test\/|^src\//.test(path))).toEqual([]);
  });

  it("npm package starts by its bin entry", () => {
    const { bin } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as { bin: { omnishim: string } };
    expect(readFileSync(join(installed, bin.omnishim), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it("npm package runs the demo when it is installed outside of the repository", async () => {
    const program = new Program(process.execPath, [join(installed, "dist/main.js"), "demo"], { cwd: folder });
    try {
      expect(await program.exit(30_000)).toEqual({ code: 0, signal: undefined });
      expect(program.output).toContain("requests  8: ");
    } finally {
      await program.stop();
    }
  });
});
