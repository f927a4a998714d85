import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { namesIn, spansNamed } from "../kit/named-spans.ts";
import { OtlpClient } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Program } from "../kit/process.ts";

let folder: string;
let programs: Program[];
let sinks: OtlpSink[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unexpected-"));
  programs = [];
  sinks = [];
});

afterEach(async () => {
  for (const program of programs) await program.stop("SIGKILL");
  for (const sink of sinks) await sink.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startSink(): Promise<OtlpSink> {
  const sink = await OtlpSink.start();
  sinks.push(sink);
  return sink;
}

/** Starts the program; `preload` is code that runs in it before its own. */
async function start(config: string, preload = "", args: readonly string[] = []) {
  const file = join(folder, "otel.yml");
  writeFileSync(file, config);
  const program = Program.cli(["--config", file, "--set=service::telemetry::metrics::level=none", ...args], {
    nodeArgs: preload === "" ? [] : ["--import", `data:text/javascript,${encodeURIComponent(preload)}`],
  });
  programs.push(program);
  await program.line(/Everything is ready/);
  const [, port] = await program.line(/OTLP\/gRPC listens on 127\.0\.0\.1:(\d+)/);
  const client = new OtlpClient(`127.0.0.1:${port}`);
  return { program, client };
}

const RECEIVER = 'receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:0"}}}}';
const exporterTo = (address: string, more = ""): string => `{endpoint: "${address}", tls: {insecure: true}, ${more}}`;

describe("the program, when something fails that nothing catches,", () => {
  /** An exporter that holds what it got back in its queue for an hour, unless the program stops. */
  const holding = (address: string): string => `
${RECEIVER}
exporters:
  otlp: ${exporterTo(address, "sending_queue: {batch: {flush_timeout: 1h, min_size: 100000, sizer: items}, queue_size: 100000, sizer: items}")}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}
`;

  it.each([
    ["an exception", `process.on("SIGUSR2", () => { throw new Error("planned for this test"); });`],
    ["a rejection", `process.on("SIGUSR2", () => { void Promise.reject(new Error("planned for this test")); });`],
    ["a rejection that is no error", `process.on("SIGUSR2", () => { void Promise.reject("planned for this test"); });`],
  ])("says so once, sends on what it accepted and ends with 1: %s", async (_, preload) => {
    const sink = await startSink();
    const { program, client } = await start(holding(sink.address), preload);
    await client.send("traces", Buffer.from(spansNamed("accepted before").bytes));
    client.close();
    expect(sink.seen).toBe(0);
    program.signal("SIGUSR2");
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(namesIn(sink.bytes("traces"))).toEqual(["accepted before"]);
    expect(program.output.match(/Error: unexpected, please report it: .*planned for this test/g)).toHaveLength(1);
    expect(program.output).toContain("The program cannot go on and stops");
    expect(program.output).toContain("Shutdown complete.");
  });

  it("ends with 1 at its deadline when what it accepted cannot be sent, and says how much that was", async () => {
    const sink = await startSink();
    sink.faults = () => ({ kind: "hang" });
    const preload = `process.on("SIGUSR2", () => { throw new Error("planned for this test"); });`;
    const { program, client } = await start(holding(sink.address), preload, ["--shutdown-timeout=500ms"]);
    await client.send("traces", Buffer.from(spansNamed("one", "two", "three").bytes));
    client.close();
    program.signal("SIGUSR2");
    expect(await program.exit()).toEqual({ code: 1, signal: undefined });
    expect(program.output).toMatch(/"?(dropped_items|items|spans|rejected_items)"?\W+3\b/);
  });
});

describe("the program with an exporter that hangs", () => {
  it("serves the other one as fast as ever, and acknowledges as long as the queue has room", async () => {
    const [wedged, healthy] = [await startSink(), await startSink()];
    wedged.faults = () => ({ kind: "hang" });
    const { client } = await start(`
${RECEIVER}
exporters:
  otlp/wedged: ${exporterTo(wedged.address, "timeout: 1h, sending_queue: {num_consumers: 2, queue_size: 60}")}
  otlp/healthy: ${exporterTo(healthy.address)}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp/wedged, otlp/healthy]}}}
`);
    const sent = Array.from({ length: 50 }, (_, index) => `span ${index}`);
    for (const name of sent) await client.send("traces", Buffer.from(spansNamed(name).bytes), 2000);
    await healthy.until("everything came", ({ accepted }) => accepted.length >= sent.length, 5000);
    expect(namesIn(healthy.bytes("traces")).sort()).toEqual([...sent].sort());
    expect(wedged.accepted).toHaveLength(0);
    expect(wedged.seen).toBe(2);

    // With its queue full the sender is told to come again; the healthy one has its data by then.
    let refused: unknown;
    for (let extra = 0; extra < 20 && !refused; extra++)
      await client.send("traces", Buffer.from(spansNamed(`extra ${extra}`).bytes), 2000).catch((error: unknown) => {
        refused = error;
      });
    client.close();
    expect(refused).toMatchObject({ details: expect.stringContaining("sending queue is full") as unknown });
    const extra = namesIn(healthy.bytes("traces")).filter((name) => name.startsWith("extra"));
    expect(extra.length).toBeGreaterThan(5);
  });
});
