import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import type { Signal } from "../../src/kernel/api.ts";

const services: Readonly<Record<Signal, string>> = {
  traces: "opentelemetry.proto.collector.trace.v1.TraceService",
  metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
  logs: "opentelemetry.proto.collector.logs.v1.LogsService",
};

const asIs = (bytes: Buffer): Buffer => bytes;

/** Sends encoded export requests over gRPC with grpc-js. Close it. */
export class OtlpClient {
  readonly #client: Client;

  /** @param address "127.0.0.1:4317" */
  constructor(address: string) {
    // A pool of its own: the shared one keeps back-off from servers that were at this address before.
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": -1,
    });
  }

  /** Resolves with the response's bytes. @throws ServiceError with the gRPC code */
  async send(signal: Signal, request: Buffer, timeoutMs = 30_000): Promise<Buffer> {
    return new Promise((resolve, reject) =>
      this.#client.makeUnaryRequest(
        `/${services[signal]}/Export`,
        asIs,
        asIs,
        request,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, response?: Buffer) =>
          error ? reject(error) : resolve(response ?? Buffer.alloc(0)),
      ),
    );
  }

  close(): void {
    this.#client.close();
  }
}

/** Sends one export request over HTTP to `base`, "http://127.0.0.1:4318". @throws unless it is answered with 200 */
export async function sendHttp(
  base: string,
  signal: Signal,
  body: Uint8Array<ArrayBuffer> | string,
  contentType = typeof body === "string" ? "application/json" : "application/x-protobuf",
): Promise<void> {
  const response = await fetch(`${base}/v1/${signal}`, {
    method: "POST",
    headers: { "content-type": contentType },
    body,
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`POST /v1/${signal}: ${response.status} ${answer}`);
}
