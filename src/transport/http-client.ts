/** A client for one-shot POST requests with pooled connections; over undici. Knows nothing of what is sent. */
import { Agent, type Dispatcher, EnvHttpProxyAgent, ProxyAgent, request } from "undici";
import { connectionHint } from "./connection-hint.ts";
import type { TlsClient } from "./tls-client.ts";

/** How to reach servers. Times are milliseconds. */
export interface HttpClientOptions {
  readonly tls: TlsClient | undefined;
  /** Connections to one server at once; 0 means any number. */
  readonly maxConnections: number;
  /** How long an unused connection is kept; 0 means until the server closes it. */
  readonly idleTimeoutMs: number;
  /** False: a connection serves one request. */
  readonly keepAlive: boolean;
  /** "" means what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, as Go does it. */
  readonly proxyUrl: string;
}

/** An answer, whatever its status. */
export interface HttpAnswer {
  readonly status: number;
  /** The first value of a header, "" when there is none. */
  header(name: string): string;
  /** At most as many bytes as the caller wanted; what is beyond is not read. */
  readonly body: Buffer;
}

/** No answer came. `message` says why, and what to do about it. */
export class HttpError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = "HttpError";
  }
}

/** undici wants a number; about 24 days are as good as no limit. */
const FOREVER_MS = 2 ** 31 - 1;

/** One pool of connections. */
export class HttpClient {
  readonly #dispatcher: Dispatcher;

  constructor(options: HttpClientOptions) {
    const { tls, maxConnections, idleTimeoutMs, keepAlive, proxyUrl } = options;
    const connect = tls && {
      secureContext: tls.secureContext,
      rejectUnauthorized: tls.rejectUnauthorized,
      ...(tls.serverName === "" ? {} : { servername: tls.serverName }),
    };
    const pool: Agent.Options = {
      connections: maxConnections || null,
      pipelining: keepAlive ? 1 : 0,
      keepAliveTimeout: idleTimeoutMs || FOREVER_MS,
      keepAliveMaxTimeout: idleTimeoutMs || FOREVER_MS,
      // The caller's signal bounds the whole request.
      headersTimeout: 0,
      bodyTimeout: 0,
      ...(connect ? { connect } : {}),
    };
    // As in Go: only https:// goes through a tunnel, http:// is asked of the proxy itself.
    const behindProxy = { ...pool, proxyTunnel: false, ...(connect ? { requestTls: connect } : {}) };
    if (proxyUrl !== "") this.#dispatcher = new ProxyAgent({ uri: proxyUrl, ...behindProxy });
    else if (hasProxyVariable()) this.#dispatcher = new EnvHttpProxyAgent(behindProxy);
    else this.#dispatcher = new Agent(pool);
  }

  /**
   * Sends one request and reads the answer's first `maxAnswerBytes`. Redirects are answers like any other.
   * @throws HttpError when there is no answer, the signal's reason when it aborts
   */
  async post(
    url: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    maxAnswerBytes: number,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    try {
      const answer = await request(url, { method: "POST", headers, body, signal, dispatcher: this.#dispatcher });
      return {
        status: answer.statusCode,
        header(name) {
          const value = answer.headers[name.toLowerCase()];
          return (Array.isArray(value) ? value[0] : value) ?? "";
        },
        body: await readUpTo(answer.body, maxAnswerBytes),
      };
    } catch (error) {
      signal.throwIfAborted();
      const text = plainMessage(error);
      const hint = connectionHint(text, { tls: url.startsWith("https:"), protocol: "http" });
      throw new HttpError(hint === undefined ? text : `${text} (${hint})`, error);
    }
  }

  /** Closes all connections as soon as they are idle. */
  retire(): void {
    this.#dispatcher.close().catch(() => {});
  }

  /** Cuts requests under way and closes all connections. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

function hasProxyVariable(): boolean {
  return ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"].some((name) => process.env[name]);
}

async function readUpTo(body: Dispatcher.ResponseData["body"], limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= limit) break;
  }
  return Buffer.concat(chunks).subarray(0, limit);
}

/** Node joins the attempts at several addresses in an AggregateError without a message. */
function plainMessage(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(plainMessage).join("; ");
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const text = error.message.replace(/^[0-9A-F]{16}:error:[0-9A-F]+:([^:]*):[^:]*:([^:]*):.*$/s, "$1: $2");
  return code === "" || text.includes(code) ? text : `${text} (${code})`;
}
