import type { Host, Settings } from "../../kernel/api.ts";
import { type ClientAuthenticator, clientAuthenticatorOf } from "../../kernel/auth.ts";
import { protoToJson } from "../../pdata/json.ts";
import type { Signal } from "../../pdata/payload.ts";
import {
  decodePartialSuccess,
  decodeStatus,
  type PartialSuccess,
  PartialSuccessReport,
  type PeerStatus,
  parsePartialSuccessJson,
  parseStatusJson,
  refusal,
} from "../../sending/answer.ts";
import { TooLargeError } from "../../sending/divide.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import { compressor } from "../../transport/compression/compress.ts";
import { type HttpAnswer, HttpClient } from "../../transport/http-client.ts";
import { type TlsClient, TlsClientSource } from "../../transport/tls-client.ts";
import { userAgent } from "../../transport/user-agent.ts";
import type { OtlpHttpConfig } from "./config.ts";
import { type Destination, destinationOf } from "./destination.ts";

/** An answer holds a short message; more is not read (otlphttpexporter's maxHTTPResponseReadBytes). */
const MAX_ANSWER_BYTES = 64 * 1024;

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

/** The answers that OTLP lets a client send again after. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** google.rpc.Code for an HTTP status (internal/statusutil; 422 is ours); 2 is UNKNOWN. */
const CODES: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 12,
  422: 3,
  429: 8,
  502: 14,
  503: 14,
  504: 14,
};
const UNKNOWN = 2;
/** What a Collector says, with 400 where OTLP wants 413. */
const TOO_LARGE = /request body too large/i;
const UNAVAILABLE = 14;

/** Posts batches, in protobuf or JSON. */
export class OtlpHttpSender {
  readonly #config: OtlpHttpConfig;
  readonly #settings: Settings;
  readonly #partial: PartialSuccessReport;
  readonly #destinations: Readonly<Record<Signal, Destination>>;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #compress: ReturnType<typeof compressor>;
  readonly #tls: TlsClientSource;
  #auth: ClientAuthenticator | undefined;
  #client: HttpClient | undefined;

  constructor(config: OtlpHttpConfig, settings: Settings) {
    this.#config = config;
    this.#settings = settings;
    this.#partial = new PartialSuccessReport(settings);
    this.#destinations = {
      traces: destinationOf(config.traces_endpoint || signalUrl(config.endpoint, "traces")),
      metrics: destinationOf(config.metrics_endpoint || signalUrl(config.endpoint, "metrics")),
      logs: destinationOf(config.logs_endpoint || signalUrl(config.endpoint, "logs")),
    };
    this.#compress = compressor(config.compression, config.compression_params.level);
    this.#tls = new TlsClientSource(config.tls, settings.clock);
    this.#headers = {
      "user-agent": userAgent(settings.build),
      ...Object.fromEntries(
        Object.entries(config.headers).map(([name, value]) => [name.toLowerCase(), value.reveal()]),
      ),
      "content-type": config.encoding === "json" ? JSON_TYPE : PROTOBUF,
      ...(this.#compress ? { "content-encoding": config.compression } : {}),
    };
  }

  /** Reads certificates when an endpoint needs them; connects with the first request. @throws Error when a file or the authenticator cannot be used */
  async open(host?: Host): Promise<void> {
    const id = this.#config.auth?.authenticator;
    if (id !== undefined && host) this.#auth = clientAuthenticatorOf(host, id);
    this.#connect(this.#usesTls() ? await this.#tls.load() : undefined);
  }

  /** One attempt. @throws ConsumeError as OTLP says which answers may be tried again */
  async send(batch: AnyBatch, signal: AbortSignal): Promise<void> {
    await this.#reload();
    const client = this.#client;
    if (!client) throw refusal(true, "otlp_http exporter not started", { code: UNAVAILABLE });
    const { url, headers: fromUrl } = this.#destinations[batch.signal];
    if (url === "")
      throw refusal(false, `either endpoint or ${batch.signal}_endpoint must be specified`, { code: UNKNOWN });
    const plain = this.#config.encoding === "json" ? Buffer.from(protoToJson(batch.signal, batch.bytes)) : batch.bytes;
    const body = this.#compress ? await this.#compress(plain) : plain;
    if (this.#config.auth && !this.#auth) throw refusal(true, "the authenticator is not there", { code: UNAVAILABLE });
    const headers = { ...fromUrl, ...this.#headers, ...(await this.#auth?.requestHeaders()) };
    let answer: HttpAnswer;
    try {
      answer = await client.post(url, headers, body, MAX_ANSWER_BYTES, signal);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw refusal(true, `failed to make an HTTP request: ${url}: ${message}`, { code: UNAVAILABLE, cause: error });
    }
    if (answer.status < 200 || answer.status > 299) throw this.#refused(url, answer);
    this.#partial.note(batch.signal, partialSuccess(url, answer));
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.close();
  }

  #refused(url: string, answer: HttpAnswer): Error {
    const status = statusOf(answer);
    const said = status ? `, Message=${status.message}` : "";
    const location = answer.header("location");
    const moved = location === "" ? "" : `, Location=${location} (redirects are not followed; change the endpoint)`;
    const message = `error exporting items, request to ${url} responded with HTTP Status Code ${answer.status}${said}${moved}`;
    const isTooLarge = answer.status === 413 || (answer.status === 400 && TOO_LARGE.test(status?.message ?? ""));
    if (isTooLarge) return new TooLargeError(message, { grpcCode: CODES[answer.status] ?? UNKNOWN });
    return refusal(RETRYABLE.has(answer.status), message, {
      code: CODES[answer.status] ?? UNKNOWN,
      retryAfterMs: retryAfter(answer.header("retry-after"), this.#settings.clock.now()) ?? status?.retryAfterMs,
    });
  }

  #usesTls(): boolean {
    return Object.values(this.#destinations).some(({ url }) => /^https:/i.test(url));
  }

  /** Changed certificates get a new pool; the old one goes when its requests are over. */
  async #reload(): Promise<void> {
    if (!this.#usesTls()) return;
    try {
      const tls = await this.#tls.reload();
      if (!tls || !this.#client) return;
      this.#client.retire();
      this.#connect(tls);
      this.#settings.logger.info("Certificates have changed; connecting anew");
    } catch (error) {
      this.#settings.logger.warn("Certificates cannot be read again; going on with those in use", { error });
    }
  }

  #connect(tls: TlsClient | undefined): void {
    const { max_conns_per_host, idle_conn_timeout, disable_keep_alives, proxy_url } = this.#config;
    this.#client = new HttpClient({
      tls,
      maxConnections: max_conns_per_host,
      idleTimeoutMs: idle_conn_timeout,
      keepAlive: !disable_keep_alives,
      proxyUrl: proxy_url,
    });
  }
}

/** `endpoint` with /v1/traces behind it; "" stays "". */
function signalUrl(endpoint: string, signal: Signal): string {
  return endpoint === "" ? "" : `${endpoint.replace(/\/$/, "")}/v1/${signal}`;
}

function mediaType(answer: HttpAnswer): string {
  return (answer.header("content-type").split(";")[0] ?? "").trim().toLowerCase();
}

/** What the server says in the body of a failure, when it is a Status at all. */
function statusOf(answer: HttpAnswer): PeerStatus | undefined {
  if (answer.status < 400 || answer.body.length === 0) return undefined;
  const type = mediaType(answer);
  if (type === JSON_TYPE) return parseStatusJson(answer.body.toString());
  if (type !== PROTOBUF) return undefined;
  try {
    return decodeStatus(answer.body);
  } catch {
    return undefined;
  }
}

/** @throws ConsumeError permanent when a successful answer cannot be read, as the Collector does from 0.156 on. */
function partialSuccess(url: string, answer: HttpAnswer): PartialSuccess {
  const type = mediaType(answer);
  try {
    if (answer.body.length > 0 && type === PROTOBUF) return decodePartialSuccess(answer.body);
    if (answer.body.length > 0 && type === JSON_TYPE) return parsePartialSuccessJson(answer.body.toString());
    return { rejected: 0, message: "" };
  } catch (error) {
    const what = type === JSON_TYPE ? "json" : "protobuf";
    const message = `${url}: error parsing ${what} response: ${error instanceof Error ? error.message : String(error)}`;
    throw refusal(false, message, { code: UNKNOWN, cause: error });
  }
}

/** Retry-After in milliseconds: seconds or an HTTP date; undefined when it is neither. */
export function retryAfter(value: string, nowUnixMs: number): number | undefined {
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = /[a-z]/i.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowUnixMs);
}
