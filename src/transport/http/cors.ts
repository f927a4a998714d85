/** Cross-origin resource sharing as github.com/rs/cors does it, which the Collector's confighttp uses. */
import type { IncomingMessage, ServerResponse } from "node:http";

/** The `cors` section. Without origins nothing is added to responses. */
export interface CorsOptions {
  /** "https://app.example", "http://*.example" (one wildcard an entry) or "*". */
  readonly allowedOrigins: readonly string[];
  /** Request headers; [] = Accept, Content-Type and X-Requested-With; "*" = any. */
  readonly allowedHeaders: readonly string[];
  readonly exposedHeaders: readonly string[];
  /** Seconds a browser may keep a preflight answer; 0 = not said. */
  readonly maxAge: number;
}

const ALLOWED_METHODS = new Set(["GET", "POST", "HEAD", "OPTIONS"]);

/** Adds CORS headers and answers preflight requests. Credentials are always allowed, as in the Collector. */
export class Cors {
  readonly #anyOrigin: boolean;
  readonly #origins: ReadonlySet<string>;
  readonly #wildcards: readonly (readonly [prefix: string, suffix: string])[];
  readonly #anyHeader: boolean;
  readonly #headers: ReadonlySet<string>;
  readonly #exposed: string;
  readonly #maxAge: number;

  constructor(options: CorsOptions) {
    // Origins are case-sensitive by the specification; rs/cors compares without regard to case, "as it may error prone".
    const origins = options.allowedOrigins.map((origin) => origin.toLowerCase());
    this.#anyOrigin = origins.includes("*");
    this.#origins = new Set(origins);
    this.#wildcards = origins
      .filter((origin) => origin.includes("*"))
      .map((origin) => [origin.slice(0, origin.indexOf("*")), origin.slice(origin.indexOf("*") + 1)] as const);
    this.#anyHeader = options.allowedHeaders.includes("*");
    this.#headers = new Set(
      options.allowedHeaders.length > 0
        ? options.allowedHeaders.map((header) => header.toLowerCase())
        : ["accept", "content-type", "x-requested-with"],
    );
    this.#exposed = options.exposedHeaders.map(canonical).join(", ");
    this.#maxAge = options.maxAge;
  }

  /** True when the request was a preflight and is answered. */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const origin = request.headers.origin ?? "";
    if (request.method === "OPTIONS" && request.headers["access-control-request-method"]) {
      this.#preflight(origin, request, response);
      response.writeHead(204).end();
      return true;
    }
    response.setHeader("Vary", "Origin");
    if (origin !== "" && this.#allows(origin) && ALLOWED_METHODS.has(request.method ?? "")) {
      response.setHeader("Access-Control-Allow-Origin", this.#anyOrigin ? "*" : origin);
      if (this.#exposed !== "") response.setHeader("Access-Control-Expose-Headers", this.#exposed);
      response.setHeader("Access-Control-Allow-Credentials", "true");
    }
    return false;
  }

  #preflight(origin: string, request: IncomingMessage, response: ServerResponse): void {
    response.setHeader("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    if (origin === "" || !this.#allows(origin)) return;
    const method = request.headers["access-control-request-method"] as string;
    if (!ALLOWED_METHODS.has(method)) return;
    const wanted = request.headers["access-control-request-headers"];
    if (wanted !== undefined && !this.#anyHeader && !this.#accepts(wanted)) return;
    response.setHeader("Access-Control-Allow-Origin", this.#anyOrigin ? "*" : origin);
    response.setHeader("Access-Control-Allow-Methods", method);
    if (wanted) response.setHeader("Access-Control-Allow-Headers", wanted);
    response.setHeader("Access-Control-Allow-Credentials", "true");
    if (this.#maxAge > 0) response.setHeader("Access-Control-Max-Age", String(this.#maxAge));
    else if (this.#maxAge < 0) response.setHeader("Access-Control-Max-Age", "0");
  }

  #allows(origin: string): boolean {
    if (this.#anyOrigin) return true;
    const wanted = origin.toLowerCase();
    return (
      this.#origins.has(wanted) ||
      this.#wildcards.some(
        ([prefix, suffix]) =>
          wanted.length >= prefix.length + suffix.length && wanted.startsWith(prefix) && wanted.endsWith(suffix),
      )
    );
  }

  /** Browsers send the list in lower case, sorted, without blanks; gateways may add some. */
  #accepts(wanted: string): boolean {
    return wanted
      .split(",")
      .map((header) => header.trim())
      .every((header) => header === "" || this.#headers.has(header));
  }
}

/** "x-request-id" -> "X-Request-Id" (http.CanonicalHeaderKey). */
function canonical(header: string): string {
  return header.toLowerCase().replace(/(?:^|-)[a-z]/g, (letter) => letter.toUpperCase());
}
