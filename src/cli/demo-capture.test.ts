import { describe, expect, it } from "vitest";
import { readAsset } from "../assets/assets.ts";
import { LOG_FILES, readCapture } from "./demo-capture.ts";

describe("readCapture", () => {
  it("readCapture gives every byte of both logs and every OTLP request once, in file order", () => {
    const steps = readCapture();
    for (const file of LOG_FILES) {
      const written = steps.flatMap((step) => (step.kind === "log" && step.file === file ? [step.bytes] : []));
      expect(Buffer.concat(written).equals(readAsset(`demo/capture/${file}`)), file).toBe(true);
    }
    expect(steps.filter((step) => step.kind === "spans")).toHaveLength(5);
  });

  it("readCapture puts spans behind the lines of their request when they were exported later", () => {
    const steps = readCapture();
    const logged = (id: string): number =>
      steps.findIndex((step) => step.kind === "log" && step.bytes.includes(`RequestID:${id}`));
    const sent = (id: string): number => steps.findIndex((step) => step.kind === "spans" && step.bytes.includes(id));
    for (const id of ["243666c1-cc9c-48bf-84a2-f3ce79f0a677", "my-req_1.2", "e537d9b3-42d5-405f-a2ad-f0306902008d"]) {
      expect(logged(id)).toBeGreaterThanOrEqual(0);
      expect(sent(id)).toBeGreaterThan(logged(id));
    }
  });

  it("readCapture cuts logs at line ends, a few lines a step", () => {
    for (const step of readCapture()) {
      if (step.kind !== "log") continue;
      expect(step.bytes.at(-1)).toBe(10);
      expect(step.bytes.toString("latin1").split("\n")).toHaveLength(step.lines + 1);
      expect(step.lines).toBeLessThanOrEqual(8);
    }
  });

  it("readCapture says which file is missing when the capture is not whole", () => {
    const read = (path: string): Buffer => {
      if (path === "otlp/0013.pb") throw new Error(`no ${path}`);
      return readAsset(`demo/capture/${path}`);
    };
    expect(() => readCapture(read)).toThrow("no otlp/0013.pb");
  });
});
