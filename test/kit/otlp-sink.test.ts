import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { OtlpSink, type SinkFault } from "./otlp-sink.ts";
import { protoRoot } from "./proto.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function start(faults: readonly (SinkFault | undefined)[] = []): Promise<OtlpSink> {
  const sink = await OtlpSink.start({ faults: (_request, index) => faults[index] });
  open.push(sink);
  return sink;
}

function send(sink: OtlpSink, body: Buffer, timeoutMs = 10_000): Promise<ServiceError | null> {
  // A pool of its own: the shared one would keep back-off from a sink that was closed.
  const client = new Client(sink.address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  open.push(client);
  return new Promise((resolve) =>
    client.makeUnaryRequest(
      "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      body,
      { deadline: Date.now() + timeoutMs },
      (error) => resolve(error),
    ),
  );
}

describe("OtlpSink", () => {
  it("keeps a request's bytes and signal when it is accepted", async () => {
    const sink = await start();
    expect(await send(sink, Buffer.from([10, 0]))).toBeNull();
    await sink.until("one request", ({ accepted }) => accepted.length === 1);
    expect(sink.accepted[0]).toMatchObject({ signal: "traces", bytes: Buffer.from([10, 0]) });
  });

  it("answers with the planned status and RetryInfo, and keeps nothing", async () => {
    const sink = await start([{ kind: "code", code: status.RESOURCE_EXHAUSTED, retryDelayMs: 1250 }]);
    const error = await send(sink, Buffer.from([10, 0]));
    expect(error?.code).toBe(status.RESOURCE_EXHAUSTED);
    const root = protoRoot();
    const decode = (type: string, bytes: Uint8Array): Record<string, never> =>
      root.lookupType(type).decode(bytes).toJSON() as Record<string, never>;
    const details = error?.metadata.get("grpc-status-details-bin")[0] as Buffer;
    const message = root.lookupType("google.rpc.Status").decode(details) as unknown as {
      code: number;
      details: { value: Uint8Array }[];
    };
    expect(message.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(decode("google.rpc.RetryInfo", message.details[0]?.value as Uint8Array)).toEqual({
      retryDelay: { seconds: "1", nanos: 250_000_000 },
    });
    expect(sink.accepted).toEqual([]);
    expect(sink.seen).toBe(1);
  });

  it("keeps the request but fails the call when the answer is to be lost", async () => {
    const sink = await start([{ kind: "lose-answer" }]);
    expect((await send(sink, Buffer.from([10, 0])))?.code).toBe(status.UNAVAILABLE);
    expect(sink.accepted).toHaveLength(1);
  });

  it("never answers when it is to hang", async () => {
    const sink = await start([{ kind: "hang" }]);
    expect((await send(sink, Buffer.from([10, 0]), 200))?.code).toBe(status.DEADLINE_EXCEEDED);
    expect(sink.accepted).toEqual([]);
  });

  it("can come back on its port after it was closed", async () => {
    const first = await start();
    await first.close();
    expect((await send(first, Buffer.from([10, 0])))?.code).toBe(status.UNAVAILABLE);
    const second = await OtlpSink.start({ port: first.port });
    open.push(second);
    expect(await send(second, Buffer.from([10, 0]))).toBeNull();
  });
});
