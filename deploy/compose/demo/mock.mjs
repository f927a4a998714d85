// Stands in for Omni Proxy with one prefill and one decode instance of vLLM, so that traces can be looked at without a GPU.
//
// Answers POST /v1/completions and /v1/chat/completions (also `stream: true`), GET /v1/models and /health on port 8000. Each
// request is prefilled and decoded by sleeping; what the real programs would tell of it is told: Omni Proxy's lines into
// LOG_FOLDER/nginx_error.log, and an `llm_request` span of each instance over OTLP/HTTP to OTLP_ENDPOINT. The forms are those of
// captures of a real Omni Proxy and vLLM, made 2026-11-22. DEMO_RATE is how many requests a second it sends to itself (0: none).
import { randomBytes, randomUUID } from "node:crypto";
import { appendFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const PORT = Number(process.env.PORT ?? 8000);
const LOG = `${process.env.LOG_FOLDER ?? "/var/log/omni"}/nginx_error.log`;
const OTLP = process.env.OTLP_ENDPOINT ?? "http://omnishim:4318";
const RATE = Number(process.env.DEMO_RATE ?? 1);
const MODEL = "mock-7b";
const LONGEST_BODY = 1e6;
const MOST_TOKENS = 2000;
/** vLLM's SDK sends spans every five seconds; a demo should not wait that long. */
const EXPORT_MS = 1000;
/** Spans that wait for omnishim at most; the oldest go first. */
const MOST_SPANS = 10_000;

const nowSeconds = () => (performance.timeOrigin + performance.now()) / 1000;
/** The proxy's own stamps begin at an arbitrary zero, here the start of the program. */
const stamp = (seconds) => (seconds - performance.timeOrigin / 1000 + 1000).toFixed(6);
const hex = (bytes) => randomBytes(bytes).toString("hex");
const nano = (seconds) => `${BigInt(Math.round(seconds * 1e6)) * 1000n}`;

/** The proxy's log of one request. */
class RequestLog {
  #connection;
  #id;
  #suffix;

  constructor(connection, id, path) {
    this.#connection = connection;
    this.#id = id;
    this.#suffix = `, client: 127.0.0.1, server: localhost, request: "POST ${path} HTTP/1.1", host: "localhost"`;
  }

  #write(text) {
    const time = new Date().toISOString().slice(0, 19).replaceAll("-", "/").replace("T", " ");
    appendFileSync(LOG, `${time} [info] ${process.pid}#0: ${text}\n`);
  }

  received(at, traceparent, given) {
    const id = `RequestID:${this.#id}${this.#suffix}`;
    this.#write(`*${this.#connection} <<<Action: Start to schedule; Timestamp:${at.toFixed(6)}; ${id}`);
    const found = given
      ? "Traceparent already exists****"
      : `Action: Inject Traceparent****; Timestamp:${at.toFixed(6)}`;
    this.#write(`*${this.#connection} ****${found}; trace_headers:${traceparent}${this.#suffix}`);
  }

  action(name) {
    this.#write(
      `*${this.#connection} <<<Action: ${name}; Timestamp:${stamp(nowSeconds())}; RequestID:${this.#id}${this.#suffix}`,
    );
  }

  /** What the scheduler logs, which belongs to no connection. */
  scheduled(name) {
    this.#write(`<<<Action: ${name}; Timestamp:${stamp(nowSeconds())}; RequestID:${this.#id}`);
  }
}

/** Spans of both instances until they are sent; what is refused is tried again. */
const waiting = { "vllm-prefill": [], "vllm-decode": [] };

function attribute(key, value) {
  const kind = typeof value === "string" ? "stringValue" : Number.isInteger(value) ? "intValue" : "doubleValue";
  return { key, value: { [kind]: value } };
}

function addSpan(service, { id, traceId, parentSpanId, start, queue, prefill, promptTokens, tokens, maxTokens }) {
  const end = nowSeconds();
  const attributes = {
    "gen_ai.latency.time_to_first_token": queue + prefill,
    "gen_ai.latency.e2e": end - start,
    "gen_ai.latency.time_in_queue": queue,
    "gen_ai.usage.prompt_tokens": promptTokens,
    "gen_ai.usage.completion_tokens": tokens,
    "gen_ai.latency.time_in_model_prefill": prefill,
    "gen_ai.latency.time_in_model_decode": end - start - queue - prefill,
    "gen_ai.latency.time_in_model_inference": end - start - queue,
    "gen_ai.request.id": id,
    "gen_ai.request.max_tokens": maxTokens,
  };
  const spans = waiting[service];
  spans.push({
    traceId,
    spanId: hex(8),
    parentSpanId,
    name: "llm_request",
    kind: 2,
    startTimeUnixNano: nano(start),
    endTimeUnixNano: nano(end),
    attributes: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
  });
  spans.splice(0, spans.length - MOST_SPANS);
}

async function sendSpans() {
  for (const [service, spans] of Object.entries(waiting)) {
    const batch = spans.splice(0);
    if (batch.length === 0) continue;
    const resource = {
      attributes: [attribute("service.name", service), attribute("telemetry.sdk.language", "nodejs")],
    };
    const scopeSpans = [{ scope: { name: "vllm.llm_engine" }, spans: batch }];
    try {
      const { ok, status } = await fetch(`${OTLP}/v1/traces`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] }),
        signal: AbortSignal.timeout(10_000),
      });
      if (!ok) throw new Error(`status ${status}`);
    } catch (error) {
      console.log(`${OTLP} does not take spans, which are kept: ${error.cause?.message ?? error.message}`);
      spans.unshift(...batch);
      spans.splice(0, spans.length - MOST_SPANS);
    }
  }
}

let connections = 0;

/** One request from its arrival to its last token; `onToken` is called with each. */
async function serve(path, asked, headers, onToken) {
  const chat = path.includes("chat");
  const requestId = headers["x-request-id"] ?? randomUUID();
  const given = /^00-([0-9a-f]{32})-([0-9a-f]{16})-/.exec(headers.traceparent ?? "");
  const [traceId, parentSpanId] = given ? given.slice(1) : [hex(16), hex(8)];
  const prompt = chat ? (asked.messages ?? []).map(({ content }) => content).join(" ") : String(asked.prompt ?? "");
  const promptTokens = Math.max(1, Math.ceil(prompt.length / 4));
  const maxTokens = Math.min(Math.max(Math.trunc(asked.max_tokens ?? 16), 1), MOST_TOKENS);
  const engine = { id: `${chat ? "chatcmpl" : "cmpl"}-${requestId}-0`, traceId, parentSpanId, promptTokens };

  const log = new RequestLog(++connections, requestId, path);
  log.received(nowSeconds(), `00-${traceId}-${parentSpanId}-01`, given !== null);
  log.action("Time received");
  log.action("Enter state tokenization");
  log.action("Enter state P waiting");
  await sleep(1);
  log.scheduled("Enter state P scheduled");
  log.action("Enter state P running");
  await sleep(2);
  const prefill = { start: nowSeconds(), queue: 0.001, prefill: Math.min(0.01 + promptTokens * 1e-4, 1) };
  await sleep((prefill.queue + prefill.prefill) * 1000);
  addSpan("vllm-prefill", { ...engine, ...prefill, tokens: 1, maxTokens: 1 });
  await sleep(1);
  log.action("Finish P running");
  log.action("Enter state D waiting");
  await sleep(1);
  log.scheduled("Enter state D scheduled");
  log.action("Enter state D running");
  await sleep(2);
  const decode = { start: nowSeconds(), queue: 0.001, prefill: 0.005 };
  await sleep((decode.queue + decode.prefill) * 1000);
  for (let token = 0; token < maxTokens; token++) {
    if (token < 3) log.action(`Proxy got ${["first", "second", "third"][token]} token`);
    onToken(` token${token}`);
    await sleep(8 + Math.random() * 4);
  }
  addSpan("vllm-decode", { ...engine, ...decode, tokens: maxTokens, maxTokens });
  await sleep(1);
  log.action("Received all tokens");
  return { requestId, usage: { prompt_tokens: promptTokens, completion_tokens: maxTokens } };
}

async function bodyOf(request) {
  let text = "";
  for await (const part of request.setEncoding("utf8")) {
    text += part;
    if (text.length > LONGEST_BODY) throw new Error(`the body is longer than ${LONGEST_BODY} characters`);
  }
  return text === "" ? {} : JSON.parse(text);
}

function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(`${JSON.stringify(value)}\n`);
}

async function complete(request, response, path) {
  let asked;
  try {
    asked = await bodyOf(request);
  } catch (error) {
    return json(response, 400, { error: { message: error.message, type: "invalid_request_error" } });
  }
  const object = path.includes("chat") ? "chat.completion" : "text_completion";
  const choice = (text, delta) =>
    path.includes("chat")
      ? { index: 0, [delta ? "delta" : "message"]: { role: "assistant", content: text } }
      : { index: 0, text };
  if (asked.stream) {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const event = (value) => response.write(`data: ${value}\n\n`);
    await serve(path, asked, request.headers, (text) =>
      event(JSON.stringify({ object: `${object}.chunk`, model: MODEL, choices: [choice(text, true)] })),
    );
    event("[DONE]");
    return response.end();
  }
  let text = "";
  const { requestId, usage } = await serve(path, asked, request.headers, (token) => {
    text += token;
  });
  response.setHeader("X-Request-Id", requestId);
  return json(response, 200, { id: requestId, object, model: MODEL, choices: [choice(text, false)], usage });
}

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  const isPost = request.method === "POST";
  if (isPost && ["/v1/completions", "/v1/chat/completions"].includes(path))
    complete(request, response, path).catch((error) => response.destroy(error));
  else if (path === "/health") response.writeHead(200).end();
  else if (path === "/v1/models") json(response, 200, { object: "list", data: [{ id: MODEL, object: "model" }] });
  else json(response, 404, { error: { message: `there is no ${request.method} ${path}`, type: "not_found" } });
});

mkdirSync(LOG.slice(0, LOG.lastIndexOf("/")), { recursive: true });
appendFileSync(LOG, "");
server.listen(PORT, () => console.log(`mock of Omni Proxy and vLLM on ${PORT}, ${RATE} requests a second of its own`));
setInterval(() => void sendSpans(), EXPORT_MS).unref();
if (RATE > 0)
  setInterval(() => {
    const asked = {
      prompt: "what takes so long? ".repeat(1 + Math.floor(Math.random() * 40)),
      max_tokens: 8 + Math.floor(Math.random() * 40),
    };
    serve("/v1/completions", asked, {}, () => {}).catch((error) => console.log(error.message));
  }, 1000 / RATE).unref();
for (const signal of ["SIGTERM", "SIGINT"])
  process.once(signal, () => {
    server.close();
    server.closeAllConnections();
    // What has ended is sent; requests under way are cut, as those of a proxy that is stopped.
    void sendSpans().finally(() => process.exit(0));
  });
