import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { otlpReceiverFactory } from "../../src/receivers/otlp/factory.ts";
import type { OtlpReceiver } from "../../src/receivers/otlp/receiver.ts";
import { TestHost, testSettings } from "../kit/settings.ts";
import { RecordingSink } from "../kit/sink.ts";

const script = fileURLToPath(new URL("run.mjs", import.meta.url));

/** Runs the cases in a process of their own. */
function run(grpc: string, http: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, "--grpc", grpc, "--http", http]);
    let output = "";
    const take = (text: Buffer): void => {
      output += text.toString();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("close", (code) => resolve({ code, output }));
  });
}

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0)) await act();
});

describe("the otlp receiver", () => {
  it("answers as the Collector does in every conformance case", async () => {
    const traces = new RecordingSink<"traces">();
    const make = otlpReceiverFactory
      .configure({ protocols: { grpc: { endpoint: "127.0.0.1:0" }, http: { endpoint: "127.0.0.1:0" } } })
      .create(testSettings("otlp"));
    const receiver = make({ traces }) as OtlpReceiver;
    await receiver.start(new TestHost());
    undo.push(() => receiver.shutdown(AbortSignal.abort()));
    const { code, output } = await run(receiver.grpc?.address ?? "", receiver.http?.address ?? "");
    expect(output).toContain("44 passed, 0 failed");
    expect(code).toBe(0);
    // The spans of all cases that were answered OK, and of no other.
    expect(traces.items).toBe(1218);
  });
});

describe("run.mjs", () => {
  it("fails for a server that says yes to everything", async () => {
    const server = createServer((request, response) => {
      request.resume();
      request.once("end", () => response.writeHead(200, { "Content-Type": "application/json" }).end("{}"));
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    undo.push(() => new Promise((resolve) => server.close(resolve)));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, output } = await run(address, address);
    expect(code).toBe(1);
    expect(output).toMatch(/DIFFERS grpc valid/);
    expect(output).toMatch(/DIFFERS http GET/);
  });
});
