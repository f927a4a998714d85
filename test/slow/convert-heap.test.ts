import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JaegerFiles } from "../../src/offline/output/jaeger-files.ts";
import { Workplace } from "../kit/offline.ts";

const collect = (globalThis as { gc?: () => void }).gc;

describe("JaegerFiles", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => rmSync(place.path, { recursive: true, force: true }));

  it("JaegerFiles keeps no buffer of the files that are complete, however many there are", async () => {
    expect(collect).toBeDefined();
    const files = new JaegerFiles(place.at("out.json"), 4000);
    const trace = JSON.stringify({ traceID: "1", spans: [], processes: {}, filler: "x".repeat(2500) });
    files.writeText(trace);
    await files.ready();
    collect?.();
    const before = process.memoryUsage().arrayBuffers;
    for (let part = 0; part < 64; part++) {
      files.writeText(trace);
      await files.ready();
    }
    const written = await files.finishTexts([]);
    expect(written.length).toBeGreaterThan(60);
    collect?.();
    // Each had a buffer of a megabyte.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8e6);
  });
});
