import type { Host, Settings } from "../../kernel/api.ts";
import { type ClientAuthenticator, clientAuthenticatorOf } from "../../kernel/auth.ts";
import {
  decodePartialSuccess,
  decodeStatus,
  isRetryableCode,
  PartialSuccessReport,
  refusal,
} from "../../sending/answer.ts";
import { TooLargeError } from "../../sending/divide.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import { exportPaths } from "../../transport/grpc/otlp-services.ts";
import { GrpcClient, GrpcError } from "../../transport/grpc-client.ts";
import { type GrpcTarget, parseGrpcTarget } from "../../transport/grpc-target.ts";
import { isPlaintext, type TlsClient, TlsClientSource } from "../../transport/tls-client.ts";
import { userAgent } from "../../transport/user-agent.ts";
import type { OtlpGrpcConfig } from "./config.ts";

const RESOURCE_EXHAUSTED = 8;
/** "received message larger than max (N vs. M)", "... after decompression larger than max M" (grpc-go), "decompresses to a size larger than M" (grpc-js). */
const TOO_LARGE = /message\b.*\blarger than (?:max|\d)/i;

/** Sends batches as they are, encoded, over one gRPC channel. */
export class OtlpGrpcSender {
  readonly #config: OtlpGrpcConfig;
  readonly #settings: Settings;
  readonly #partial: PartialSuccessReport;
  readonly #target: GrpcTarget;
  readonly #tls: TlsClientSource | undefined;
  #auth: ClientAuthenticator | undefined;
  #client: GrpcClient | undefined;

  constructor(config: OtlpGrpcConfig, settings: Settings) {
    this.#config = config;
    this.#settings = settings;
    this.#partial = new PartialSuccessReport(settings);
    const target = parseGrpcTarget(config.endpoint);
    if (typeof target === "string") throw new Error(target);
    this.#target = target;
    const plaintext = isPlaintext(config.tls) && target.scheme !== "https";
    this.#tls = plaintext ? undefined : new TlsClientSource(config.tls, settings.clock);
  }

  /** Reads certificates; connects with the first request. @throws Error when a file or the authenticator cannot be used */
  async open(host?: Host): Promise<void> {
    const id = this.#config.auth?.authenticator;
    if (id !== undefined && host) this.#auth = clientAuthenticatorOf(host, id);
    if (this.#target.scheme === "http" && this.#tls)
      this.#settings.logger.warn(
        "endpoint begins with http:// and TLS is on: as in the Collector only tls::insecure: true turns it off",
        { endpoint: this.#config.endpoint },
      );
    this.#connect(await this.#tls?.load());
  }

  /** One attempt. @throws ConsumeError as OTLP says which codes may be tried again */
  async send(batch: AnyBatch, signal: AbortSignal): Promise<void> {
    await this.#reload();
    const client = this.#client;
    if (!client) throw refusal(true, "otlp exporter not started", { code: 14 });
    if (this.#config.auth && !this.#auth) throw refusal(true, "the authenticator is not there", { code: 14 });
    const proof = await this.#auth?.requestHeaders();
    let answer: Uint8Array;
    try {
      answer = await client.call(exportPaths()[batch.signal], batch.bytes, this.#config.timeout, signal, proof);
    } catch (error) {
      throw this.#refused(error);
    }
    try {
      this.#partial.note(batch.signal, decodePartialSuccess(answer));
    } catch (error) {
      this.#settings.logger.warn("The server accepted a request with an answer that cannot be read", { error });
    }
  }

  async close(): Promise<void> {
    this.#client?.close();
    this.#client = undefined;
  }

  #refused(error: unknown): Error {
    if (!(error instanceof GrpcError)) return refusal(true, String(error), { code: 14, cause: error });
    const retryAfterMs = error.statusDetails && retryDelay(error.statusDetails);
    const message = `${this.#config.endpoint}: ${error.message}`;
    if (error.code === RESOURCE_EXHAUSTED && TOO_LARGE.test(error.reason))
      return new TooLargeError(message, { grpcCode: error.code, cause: error });
    return refusal(isRetryableCode(error.code, retryAfterMs), message, {
      code: error.code,
      retryAfterMs,
      cause: error,
    });
  }

  /** A changed certificate gets a new channel; calls under way end on the old one. */
  async #reload(): Promise<void> {
    try {
      const tls = await this.#tls?.reload();
      if (!tls || !this.#client) return;
      this.#client.close();
      this.#connect(tls);
      this.#settings.logger.info("Certificates have changed; connecting anew");
    } catch (error) {
      this.#settings.logger.warn("Certificates cannot be read again; going on with those in use", { error });
    }
  }

  #connect(tls: TlsClient | undefined): void {
    const config = this.#config;
    this.#client = new GrpcClient({
      target: this.#target.target,
      tls,
      gzip: config.compression === "gzip" ? config.compression_params.level : undefined,
      waitForReady: config.wait_for_ready,
      balancer: config.balancer_name,
      keepalive: config.keepalive && {
        timeMs: config.keepalive.time,
        timeoutMs: config.keepalive.timeout,
        withoutCalls: config.keepalive.permit_without_stream,
      },
      authority: config.authority,
      userAgent: config.user_agent || userAgent(this.#settings.build),
      headers: Object.fromEntries(Object.entries(config.headers).map(([name, value]) => [name, value.reveal()])),
    });
  }
}

function retryDelay(statusDetails: Uint8Array): number | undefined {
  try {
    return decodeStatus(statusDetails).retryAfterMs;
  } catch {
    // Details that cannot be read are as good as none; code and message say what happened.
    return undefined;
  }
}
