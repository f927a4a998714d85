/** OTLP over HTTP: POST of protobuf or JSON (OTLP 1.11, "OTLP/HTTP"; the Collector's otlphttp.go). */
import type { Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Authenticate } from "../../transport/auth.ts";
import { GrpcCode, GrpcError } from "../../transport/grpc/status.ts";
import { type Exchange, GoneError, HttpError } from "../../transport/http/exchange.ts";
import { encodeStatus, statusJson } from "../../transport/rpcstatus.ts";
import type { Intake } from "./intake.ts";
import { codeOfHttpStatus, httpStatus, refusal } from "./outcome.ts";

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

const NO_BYTES = new Uint8Array();

/** Answers every request on the HTTP port, once `authenticate` has nothing against it. @param paths URL path -> signal, for the signals that have a pipeline. */
export function exportHandler(
  intake: Intake,
  paths: ReadonlyMap<string, Signal>,
  authenticate?: Authenticate,
): (exchange: Exchange) => void {
  if (!authenticate) return (exchange) => route(exchange, intake, paths);
  return (exchange) => {
    const { headers } = exchange.request;
    authenticate((name) => {
      const value = headers[name];
      return Array.isArray(value) ? value[0] : value;
    }).then(
      () => route(exchange, intake, paths),
      (error: unknown) => turnAway(exchange, error),
    );
  };
}

/** What the authenticator has against a request, in the encoding that its sender uses. */
function turnAway(exchange: Exchange, error: unknown): void {
  const { code, message, retryAfterMs } =
    error instanceof ConsumeError
      ? refusal(error)
      : new GrpcError(GrpcCode.UNAUTHENTICATED, error instanceof Error ? error.message : String(error));
  const type = exchange.mediaType;
  if (type === PROTOBUF || type === JSON_TYPE)
    answerStatus(exchange, type, httpStatus(code), code, { message, retryAfterMs });
  else exchange.respond(httpStatus(code), "text/plain; charset=utf-8", message);
}

function route(exchange: Exchange, intake: Intake, paths: ReadonlyMap<string, Signal>): void {
  const signal = paths.get(exchange.path);
  if (signal === undefined) {
    exchange.respond(404, "text/plain; charset=utf-8", "404 page not found\n", {
      "X-Content-Type-Options": "nosniff",
    });
    return;
  }
  if (exchange.request.method !== "POST") {
    exchange.respond(405, "text/plain", "405 method not allowed, supported: [POST]", { Allow: "POST" });
    return;
  }
  const type = exchange.mediaType;
  if (type !== PROTOBUF && type !== JSON_TYPE) {
    exchange.respond(
      415,
      "text/plain",
      "415 unsupported media type, supported: [application/json, application/x-protobuf]",
    );
    return;
  }
  void serve(exchange, intake, signal, type);
}

/** Never rejects: every failure is an answer. */
async function serve(exchange: Exchange, intake: Intake, signal: Signal, type: string): Promise<void> {
  let taken: Promise<void> | undefined;
  try {
    const body = await exchange.readBody();
    taken = intake.take(signal, "http", type === JSON_TYPE ? "json" : "protobuf", body, exchange);
  } catch (error) {
    if (error instanceof GoneError) return;
    const status = error instanceof HttpError ? error.status : 400;
    answerStatus(exchange, type, status, codeOfHttpStatus(status), error as Error);
    return;
  }
  try {
    if (taken) await taken;
  } catch (error) {
    const { code, message, retryAfterMs } = refusal(ConsumeError.from(error));
    answerStatus(exchange, type, httpStatus(code), code, { message, retryAfterMs });
    return;
  }
  exchange.respond(200, type, type === JSON_TYPE ? "{}" : NO_BYTES);
}

/** A google.rpc.Status in the encoding of the request, with Retry-After where a wait is known. */
function answerStatus(
  exchange: Exchange,
  type: string,
  status: number,
  code: number,
  failure: { readonly message: string; readonly retryAfterMs?: number | undefined },
): void {
  const { message, retryAfterMs } = failure;
  const body = type === JSON_TYPE ? statusJson(code, message, retryAfterMs) : encodeStatus(code, message, retryAfterMs);
  if (retryAfterMs === undefined) exchange.respond(status, type, body);
  else exchange.respond(status, type, body, { "Retry-After": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) });
}
