import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { linesOf, readCapture } from "../kit/captures.ts";
import { cutDemoData, DEMO_REQUESTS, DEMO_SOURCE } from "../kit/demo-data.ts";

const folder = fileURLToPath(new URL("../../demo/capture/", import.meta.url));

// DEMO_DATA=write npx vitest run test/e2e/demo-data.test.ts makes the files anew.
if (process.env["DEMO_DATA"] === "write") {
  rmSync(folder, { recursive: true, force: true });
  for (const [path, bytes] of cutDemoData()) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

describe("demo/capture", () => {
  const cut = cutDemoData();

  it("demo/capture holds exactly what the capture gives when it is cut to the demo's requests", () => {
    const paths = readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
      entry.isFile() ? [join(entry.parentPath, entry.name).slice(folder.length)] : [],
    );
    expect(paths.sort()).toEqual([...cut.keys()].sort());
    for (const [path, bytes] of cut) expect(readFileSync(join(folder, path)).equals(bytes), path).toBe(true);
  });

  it("demo/capture has only lines, rows and spans that were captured", () => {
    const capture = readCapture(DEMO_SOURCE);
    const captured = new Set(
      [...linesOf(capture.errorLog), ...linesOf(capture.accessLog)].map((line) => line.toString("latin1")),
    );
    const played = ["nginx_error.log", "nginx_access.log"].flatMap((path) => linesOf(cut.get(path) ?? Buffer.alloc(0)));
    expect(played.length).toBeGreaterThan(300);
    for (const line of played) expect(captured.has(line.toString("latin1"))).toBe(true);
    expect(linesOf(cut.get("nginx_access.log") ?? Buffer.alloc(0))).toHaveLength(DEMO_REQUESTS.length);
    expect(String(cut.get("nginx_error.log")).match(/Time received/g)).toHaveLength(DEMO_REQUESTS.length);
  });
});
