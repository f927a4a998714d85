import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readAsset, readTextAsset } from "./assets.ts";

const src = fileURLToPath(new URL("../", import.meta.url));

describe("readAsset", () => {
  it("readAsset gives the bytes of a file of the package", () => {
    expect(readAsset("demo/capture/otlp/0012.pb").length).toBeGreaterThan(100);
    expect(readTextAsset("proto/opentelemetry/proto/trace/v1/trace.proto")).toContain("message ResourceSpans");
  });

  it("readAsset names the file when the installation has not got it", () => {
    expect(() => readAsset("proto/none.proto")).toThrow(/proto\/none\.proto/);
  });
});

describe("src/", () => {
  it("nothing but assets.ts asks where the program is installed, so that all of it works in the single executable", () => {
    const asks = readdirSync(src, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
      .filter((name) => /import\.meta|__dirname|createRequire/.test(readFileSync(join(src, name), "utf8")));
    expect(asks).toEqual(["assets/assets.ts"]);
  });
});
