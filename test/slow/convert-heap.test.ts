import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JaegerFiles } from "../../src/offline/output/jaeger-files.ts";
import { Workplace } from "../kit/offline.ts";

const collect = (globalThis as { gc?: () => void }).gc;

/** Bytes of the array buffers that something still holds. V8 frees the others on a thread of its own after a collection, and
 * counts them out with the next one. */
async function heldBytes(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    collect?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().arrayBuffers;
}

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
    const before = await heldBytes();
    for (let part = 0; part < 64; part++) {
      files.writeText(trace);
      await files.ready();
    }
    const written = await files.finishTexts([]);
    expect(written.length).toBeGreaterThan(60);
    // Each had a buffer of a megabyte.
    expect((await heldBytes()) - before).toBeLessThan(8e6);
  });
});
