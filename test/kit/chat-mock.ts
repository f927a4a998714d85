/** Stands in for Omni Proxy: streams chat completions, and notes by the monotonic clock when it did what. */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** One answer as the mock gave it; milliseconds of performance.now(). */
export interface MockedAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
  readonly receivedMs: number;
  firstMs: number;
  lastMs: number;
  endMs: number;
}

export interface MockSettings {
  readonly firstAfterMs: number;
  readonly tokens: number;
  readonly tokenEveryMs: number;
  /** Answers in the mock's place; gives false where the mock goes on. */
  readonly instead?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Called when an answer has ended. */
  readonly answered?: (answer: MockedAnswer) => void;
}

export class ChatMock {
  readonly answers: MockedAnswer[] = [];
  readonly #server: Server;

  constructor(settings: MockSettings) {
    this.#server = createServer((request, response) => {
      void this.#answer(request, response, settings);
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  /** The API's base, "http://127.0.0.1:PORT/v1". */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse, settings: MockSettings): Promise<void> {
    const receivedMs = performance.now();
    if (settings.instead?.(request, response)) return;
    let text = "";
    for await (const piece of request) text += String(piece);
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      response.writeHead(404, { "content-type": "application/json" }).end('{"detail":"Not Found"}');
      return;
    }
    const body = JSON.parse(text) as Record<string, unknown>;
    const answer = { headers: request.headers, body, receivedMs, firstMs: 0, lastMs: 0, endMs: 0 };
    this.answers.push(answer);
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const chunk = (choices: unknown[], more: object = {}): void => {
      response.write(`data: ${JSON.stringify({ object: "chat.completion.chunk", choices, ...more })}\n\n`);
    };
    chunk([{ index: 0, delta: { role: "assistant", content: "" } }]);
    await sleep(settings.firstAfterMs);
    for (let token = 0; token < settings.tokens; token++) {
      if (token > 0) await sleep(settings.tokenEveryMs);
      answer.lastMs = performance.now();
      if (token === 0) answer.firstMs = answer.lastMs;
      chunk([{ index: 0, delta: { content: `token ${token} ` } }]);
    }
    chunk([], { usage: { prompt_tokens: 9, completion_tokens: settings.tokens } });
    response.write("data: [DONE]\n\n");
    answer.endMs = performance.now();
    response.end();
    settings.answered?.(answer);
  }
}
