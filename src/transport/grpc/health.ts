/** grpc.health.v1.Health: what Kubernetes probes, load balancers and clients with client-side health checking ask. */
import protobuf from "protobufjs/minimal.js";
import type { GrpcCall, GrpcMethod } from "./method.ts";
import { GrpcCode, GrpcError } from "./status.ts";

/** HealthCheckResponse.ServingStatus. */
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

const NOTHING = new Uint8Array();

/**
 * The server ("") and each of its services are SERVING until `stop`. Check answers NOT_FOUND for a service that is not
 * there; Watch answers SERVICE_UNKNOWN and stays open, as the protocol's definition asks.
 */
export class Health {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<() => void>();
  readonly #maxWatchers: number;
  #serving = true;

  /** @param services names as in a path: "opentelemetry.proto.collector.trace.v1.TraceService". */
  constructor(services: Iterable<string>, maxWatchers = 1000) {
    this.#services = new Set(["", "grpc.health.v1.Health", ...services]);
    this.#maxWatchers = maxWatchers;
  }

  /** Path -> method, for the server's table. */
  get methods(): ReadonlyMap<string, GrpcMethod> {
    return new Map<string, GrpcMethod>([
      ["/grpc.health.v1.Health/Check", { handle: (message) => this.#check(message) }],
      [
        "/grpc.health.v1.Health/Watch",
        { handle: (message, call) => this.#watch(message, call), serverStreaming: true },
      ],
    ]);
  }

  /** NOT_SERVING from here on; watchers are told. */
  stop(): void {
    this.#serving = false;
    for (const tell of this.#watchers) tell();
  }

  #check(message: Uint8Array): Uint8Array {
    const service = serviceOf(message);
    if (!this.#services.has(service)) throw new GrpcError(GrpcCode.NOT_FOUND, "unknown service");
    return response(this.#serving ? SERVING : NOT_SERVING);
  }

  #watch(message: Uint8Array, call: GrpcCall): Promise<Uint8Array> {
    const known = this.#services.has(serviceOf(message));
    if (this.#watchers.size >= this.#maxWatchers)
      throw new GrpcError(
        GrpcCode.RESOURCE_EXHAUSTED,
        `this server has ${this.#maxWatchers} watchers, the most it takes`,
      );
    const tell = (): void => call.send(response(known ? (this.#serving ? SERVING : NOT_SERVING) : SERVICE_UNKNOWN));
    tell();
    return new Promise((resolve) => {
      this.#watchers.add(tell);
      call.signal.addEventListener("abort", () => {
        this.#watchers.delete(tell);
        resolve(NOTHING);
      });
    });
  }
}

/** HealthCheckRequest: service = 1 (string). */
function serviceOf(message: Uint8Array): string {
  try {
    const reader = protobuf.Reader.create(message);
    let service = "";
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === 10) service = reader.string();
      else reader.skipType(tag & 7);
    }
    return service;
  } catch (error) {
    throw new GrpcError(GrpcCode.INTERNAL, `grpc: error unmarshalling request: ${(error as Error).message}`);
  }
}

/** HealthCheckResponse: status = 1 (enum). */
function response(status: number): Uint8Array {
  return Uint8Array.of(8, status);
}
