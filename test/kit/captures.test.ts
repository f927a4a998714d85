import { describe, expect, it } from "vitest";
import { type Mix, planReplay, proxyCaptureNames, type ReplayStep, readCapture } from "./captures.ts";

const joined = (steps: readonly ReplayStep[], kind: "log" | "access"): Buffer =>
  Buffer.concat(steps.flatMap((step) => (step.kind === kind ? [step.bytes] : [])));

describe("planReplay", () => {
  const mixes: readonly Mix[] = ["live", "random", "log-first", "otlp-first"];

  it.each(proxyCaptureNames())("gives every byte and every payload of %s once, whatever the mix", (name) => {
    const capture = readCapture(name);
    for (const mix of mixes) {
      const steps = planReplay(capture, { mix, order: "shuffle", seed: 7, chunks: 25, access: true });
      expect(joined(steps, "log").equals(capture.errorLog)).toBe(true);
      expect(joined(steps, "access").equals(capture.accessLog)).toBe(true);
      const files = steps.flatMap((step) => (step.kind === "payload" ? [step.payload.file] : []));
      expect(files.sort()).toEqual(capture.payloads.map(({ file }) => file).sort());
    }
  });

  it("gives the same steps when the seed is the same, and others when it is not", () => {
    const capture = readCapture("proxy-vllm/grpc");
    const files = (seed: number): string =>
      planReplay(capture, { mix: "random", order: "shuffle", seed })
        .map((step) => (step.kind === "payload" ? step.payload.file : step.bytes.length))
        .join();
    expect(files(3)).toBe(files(3));
    expect(files(3)).not.toBe(files(4));
  });

  it("places a live payload behind the lines written before it came, and before those written after", () => {
    const capture = readCapture("proxy-vllm/grpc");
    const steps = planReplay(capture, { mix: "live" });
    const before = new Map<string, string>();
    let log = "";
    for (const step of steps) {
      if (step.kind === "log") log += step.bytes.toString("latin1");
      if (step.kind === "payload") before.set(step.payload.file, log);
    }
    for (const { file, receivedUnix } of capture.payloads) {
      const written = before.get(file) ?? "";
      for (const entry of capture.manifest) {
        const id = capture.requestIds.get(entry.i);
        // Only ids of the proxy's own making are sure to be in the log once.
        if (id === undefined || entry.x_request_id_sent !== null) continue;
        if (entry.t_end + 1 < receivedUnix) expect(written).toContain(id);
        if (entry.t_start - 1 > receivedUnix) expect(written).not.toContain(id);
      }
    }
  });
});
