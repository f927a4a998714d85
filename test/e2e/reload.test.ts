import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { OtlpClient, sendHttp } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { accepts, freePorts, Program } from "../kit/process.ts";

/** Reloads of the test under load: a hangup is sent as soon as the reload before it is over. */
const RELOADS = 15;

let folder: string;
let sink: OtlpSink;
let file: string;
let ports: [number, number];
const programs: Program[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "reload-"));
  file = join(folder, "otel.yml");
  sink = await OtlpSink.start();
  ports = (await freePorts(2)) as [number, number];
});

afterEach(async () => {
  for (const program of programs.splice(0)) await program.stop("SIGKILL");
  await sink.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Choices {
  readonly batch?: string;
  readonly headers?: string;
  readonly endpoint?: string;
}

/** otlp -> batch -> otlp; what `over` changes is the stage that a reload exchanges. */
function configure(over: Choices = {}): void {
  const { batch = "{timeout: 20ms}", headers = "{}", endpoint = sink.address } = over;
  writeFileSync(
    file,
    `receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${ports[0]}"}, http: {endpoint: "127.0.0.1:${ports[1]}"}}}}
processors: {batch: ${batch}}
exporters: {otlp: {endpoint: "${endpoint}", tls: {insecure: true}, headers: ${headers}}}
service:
  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp]}}
  telemetry: {metrics: {level: none}}
`,
  );
}

async function start(): Promise<Program> {
  const program = Program.cli(["--config", file]);
  programs.push(program);
  await program.line(/Everything is ready/);
  await accepts(ports[1], program);
  return program;
}

const reloads = (output: string): number => output.split("The configuration was reloaded").length - 1;

/** The bytes of the id of span `n`, as text of one character a byte. */
const spanId = (n: number): string => Buffer.from(n.toString(16).padStart(16, "0"), "hex").toString("latin1");

/** A request of one span whose id is `n`. */
function request(n: number): Buffer {
  const spanId = n.toString(16).padStart(16, "0");
  return encodeTraces([
    { scopeSpans: [{ spans: [{ traceId: "01".repeat(16), spanId, name: `span ${n}`, startUnixNano: 1n }] }] },
  ]);
}

describe("SIGHUP", () => {
  it("loses and refuses nothing while the stages behind the listeners are exchanged under load", async () => {
    configure();
    const program = await start();
    const acknowledged: number[] = [];
    let next = 1;
    let isOver = false;
    // One connection that stays, and one a sender: each waits for its answer before it sends again. A refusal fails the test.
    const shared = new OtlpClient(`127.0.0.1:${ports[0]}`);
    const send = async (how: (bytes: Buffer) => Promise<unknown>): Promise<void> => {
      while (!isOver) {
        const n = next++;
        await how(request(n));
        acknowledged.push(n);
      }
    };
    const fresh = async (bytes: Buffer): Promise<void> => {
      const client = new OtlpClient(`127.0.0.1:${ports[0]}`);
      await client.send("traces", bytes).finally(() => client.close());
    };
    const load = [
      send((bytes) => shared.send("traces", bytes)),
      send((bytes) => shared.send("traces", bytes)),
      send(fresh),
      send((bytes) => sendHttp(`http://127.0.0.1:${ports[1]}`, "traces", Uint8Array.from(bytes))),
    ];
    const failed = Promise.all(load);
    const changes: Choices[] = [
      { batch: "{timeout: 30ms}" },
      { headers: "{x-turn: a}" },
      { batch: "{}", headers: "{x-turn: b}" },
      {},
    ];
    for (let turn = 0; turn < RELOADS; turn++) {
      configure(changes[turn % changes.length]);
      program.signal("SIGHUP");
      const done = program.until("the reload", (output) => (reloads(output) > turn ? true : undefined));
      await Promise.race([done, failed]);
    }
    isOver = true;
    await failed;
    shared.close();
    expect(await program.stop()).toEqual({ code: 0, signal: undefined });
    const arrived = sink.bytes("traces").toString("latin1");
    const lost = acknowledged.filter((n) => !arrived.includes(`span ${n}`));
    expect(acknowledged.length).toBeGreaterThan(RELOADS);
    expect(lost).toEqual([]);
    expect(reloads(program.output)).toBe(RELOADS);
    expect(program.output.match(/OTLP\/gRPC listens on/g)).toHaveLength(1);
  }, 120_000);

  it("keeps what an unchanged exporter holds for a backend that is away", async () => {
    configure();
    sink.faults = () => ({ kind: "code", code: 14 });
    const program = await start();
    const client = new OtlpClient(`127.0.0.1:${ports[0]}`);
    await client.send("traces", request(7)).finally(() => client.close());
    configure({ batch: "{timeout: 5ms}" });
    program.signal("SIGHUP");
    await program.line(/The configuration was reloaded/);
    sink.faults = undefined;
    await sink.until("the span is there", ({ accepted }) => accepted.length > 0);
    expect(sink.bytes("traces")).toEqual(request(7));
  });

  it("goes on as before when the new file is bad, and says every problem with its place", async () => {
    configure();
    const program = await start();
    configure({ batch: "{timeuot: 1s}" });
    program.signal("SIGHUP");
    await program.line(/did you mean `timeout`/);
    expect(program.output).toContain(
      "The new configuration cannot be taken; the program goes on with the one that it has",
    );
    expect(program.output).toContain(`${file}:2:`);
    await sendHttp(`http://127.0.0.1:${ports[1]}`, "traces", Uint8Array.from(request(1)));
    await sink.until("the span is there", ({ accepted }) => accepted.length === 1);
  });
});

describe("SIGHUP with everything on the disk", () => {
  /** Lines and spans of one run. */
  const COUNT = 60;

  /** A durable queue, a log with its offsets in file_storage, and both exchanged by `turn`. */
  function configureDurable(turn: number): void {
    writeFileSync(
      file,
      `extensions: {file_storage: {directory: "${join(folder, "storage")}"}}
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${ports[0]}"}, http: {endpoint: "127.0.0.1:${ports[1]}"}}}
  omni_proxy_log: {include: ["${join(folder, "error.log")}"], start_at: beginning, storage: file_storage, poll_interval: ${20 + (turn % 3)}ms}
exporters:
  otlp:
    endpoint: "${sink.address}"
    tls: {insecure: true}
    headers: {x-turn: "${turn % 2}"}
    retry_on_failure: {initial_interval: 50ms, max_interval: 50ms}
    sending_queue: {storage: file_storage}
service:
  extensions: [file_storage]
  pipelines:
    traces: {receivers: [otlp], exporters: [otlp]}
    logs: {receivers: [omni_proxy_log], exporters: [otlp]}
  telemetry: {metrics: {level: none}}
`,
    );
  }

  const line = (n: number): string =>
    `2026/11/22 10:00:00 [info] 7#7: *${n} <<<Action: Time received; Timestamp:${n}.000001; RequestID:line-${n}-\n`;

  /** How often each of 1..COUNT is in what has arrived. */
  function times(signal: "traces" | "logs", text: (n: number) => string): number[] {
    const arrived = sink.bytes(signal).toString("latin1");
    return Array.from({ length: COUNT }, (_, at) => arrived.split(text(at + 1)).length - 1);
  }

  it.each([
    ["takes everything", false],
    ["is away until the last reload is over", true],
  ])(
    "loses no span, reads no line twice and keeps its ports open while the backend %s",
    async (_, isAway) => {
      writeFileSync(join(folder, "error.log"), "");
      configureDurable(0);
      if (isAway) sink.faults = () => ({ kind: "code", code: 14 });
      const program = await start();
      const client = new OtlpClient(`127.0.0.1:${ports[0]}`);
      try {
        const reloading = (async () => {
          for (let turn = 1; turn <= 5; turn++) {
            configureDurable(turn);
            program.signal("SIGHUP");
            await program.until("the reload", (output) => (reloads(output) >= turn ? true : undefined));
          }
        })();
        // Each waits for its answer: a port that is closed for a moment fails the test.
        for (let n = 1; n <= COUNT; n++) {
          appendFileSync(join(folder, "error.log"), line(n));
          if (n % 2 === 0) await client.send("traces", request(n));
          else await sendHttp(`http://127.0.0.1:${ports[1]}`, "traces", Uint8Array.from(request(n)));
        }
        await reloading;
      } finally {
        client.close();
      }
      sink.faults = undefined;
      const arrived = (): boolean =>
        [...times("traces", (n) => spanId(n)), ...times("logs", (n) => `line-${n}-`)].every((count) => count > 0);
      await sink.until("all spans and lines are there", arrived, 60_000);
      expect(times("logs", (n) => `line-${n}-`)).toEqual(Array.from({ length: COUNT }, () => 1));
      expect(await program.stop()).toEqual({ code: 0, signal: undefined });
      expect(program.output.match(/OTLP\/gRPC listens on/g)).toHaveLength(1);
      expect(program.output.match(/OTLP\/HTTP listens on/g)).toHaveLength(1);
    },
    120_000,
  );
});
