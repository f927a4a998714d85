/** The otlp receiver: one component that serves gRPC and HTTP for all signals. */
import type { Component, Consumers, Host, Settings, Signal } from "../../kernel/api.ts";
import { type ServerAuthenticator, serverAuthenticatorOf } from "../../kernel/auth.ts";
import { formatId } from "../../kernel/id.ts";
import type { Authenticate } from "../../transport/auth.ts";
import { grpcServerOptions } from "../../transport/grpc/config.ts";
import { GrpcServer } from "../../transport/grpc/server.ts";
import { httpServerOptions } from "../../transport/http/config.ts";
import { HttpServer } from "../../transport/http/server.ts";
import type { Bound } from "../../transport/listen.ts";
import { listenAddress, type OtlpReceiverConfig } from "./config.ts";
import { exportMethods } from "./grpc.ts";
import { exportHandler } from "./http.ts";
import { Intake } from "./intake.ts";
import { OtlpReceiverTelemetry, type Protocol } from "./telemetry.ts";

/** States: created -> started -> stopped. `grpc` and `http` are where it listens, once started. */
export class OtlpReceiver implements Component {
  readonly #settings: Settings;
  readonly #grpcServer: GrpcServer | undefined;
  readonly #httpServer: HttpServer | undefined;
  readonly #telemetry: OtlpReceiverTelemetry;
  /** Where each protocol that asks for it finds its authenticator, once started. */
  readonly #authenticators = new Map<Protocol, { readonly id: string; found?: ServerAuthenticator }>();
  #grpc: Bound | undefined;
  #http: Bound | undefined;

  constructor(config: OtlpReceiverConfig, settings: Settings, next: Consumers) {
    this.#settings = settings;
    const { grpc, http } = config.protocols;
    const { clock, logger } = settings;
    const key = `receivers::${formatId(settings.id)}::protocols`;
    const protocols: Protocol[] = [...(grpc ? ["grpc" as const] : []), ...(http ? ["http" as const] : [])];
    const telemetry = new OtlpReceiverTelemetry(settings, Object.keys(next) as Signal[], protocols);
    this.#telemetry = telemetry;
    const intake = new Intake(next, telemetry);
    if (grpc)
      this.#grpcServer = new GrpcServer({
        ...grpcServerOptions(grpc),
        address: listenAddress(grpc),
        key: `${key}::grpc::endpoint`,
        methods: exportMethods(intake, this.#gate("grpc", grpc.auth?.authenticator)),
        httpHint: () =>
          http
            ? `OTLP/HTTP is on ${this.#http?.address ?? http.endpoint}`
            : `OTLP/HTTP is off (${key}::http turns it on)`,
        clock,
        logger,
        onRefused: (reason) => telemetry.rejected("grpc", reason),
      });
    if (http)
      this.#httpServer = new HttpServer({
        ...httpServerOptions(http),
        address: listenAddress(http),
        key: `${key}::http::endpoint`,
        handle: exportHandler(
          intake,
          new Map(
            intake.signals.map((signal) => {
              const path = http[`${signal}_url_path`];
              return [path.startsWith("/") ? path : `/${path}`, signal];
            }),
          ),
          this.#gate("http", http.auth?.authenticator),
        ),
        grpcHint: () =>
          grpc
            ? `OTLP/gRPC is on ${this.#grpc?.address ?? grpc.endpoint}`
            : `OTLP/gRPC is off (${key}::grpc turns it on)`,
        clock,
        logger,
        onRefused: (reason) => telemetry.rejected("http", reason),
      });
  }

  /** Where gRPC is served; undefined before start and when it is off. */
  get grpc(): Bound | undefined {
    return this.#grpc;
  }

  /** Where HTTP is served; undefined before start and when it is off. */
  get http(): Bound | undefined {
    return this.#http;
  }

  async start(host: Host): Promise<void> {
    const { logger } = this.#settings;
    try {
      for (const gate of this.#authenticators.values()) gate.found = serverAuthenticatorOf(host, gate.id);
      this.#grpc = await this.#grpcServer?.listen();
      if (this.#grpc) logger.info(`OTLP/gRPC listens on ${this.#grpc.address}: ${this.#grpc.reach}`);
      this.#http = await this.#httpServer?.listen();
      if (this.#http) logger.info(`OTLP/HTTP listens on ${this.#http.address}: ${this.#http.reach}`);
    } catch (error) {
      await this.shutdown(AbortSignal.abort());
      throw error;
    }
  }

  /** Undefined when everybody may come in. */
  #gate(protocol: Protocol, id: string | undefined): Authenticate | undefined {
    if (id === undefined) return undefined;
    const gate: { readonly id: string; found?: ServerAuthenticator } = { id };
    this.#authenticators.set(protocol, gate);
    return async (header) => {
      try {
        if (!gate.found) throw new Error(`authenticator "${id}" is not there`);
        await gate.found.authenticate(header);
      } catch (error) {
        this.#telemetry.unauthenticated(protocol, error);
        throw error;
      }
    };
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    await Promise.all([this.#grpcServer?.close(deadline), this.#httpServer?.close(deadline)]);
  }
}
