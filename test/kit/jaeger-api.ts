/** Stands in for Jaeger's query API: keeps traces, answers as Jaeger's memory storage does. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { JaegerTrace } from "../../src/offline/jaeger/model.ts";
import { resourceSpansOf } from "../../src/offline/jaeger/model.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { protoToJson } from "../../src/pdata/json.ts";

export class JaegerApi {
  /** What was asked, with headers. */
  readonly asked: { readonly path: string; readonly query: URLSearchParams; readonly authorization: string }[] = [];
  readonly #server: Server;

  /** `apis`: which of /api/traces and /api/v3/traces there are. */
  constructor(traces: readonly JaegerTrace[], apis: readonly ("v1" | "v3")[] = ["v1", "v3"]) {
    const newestFirst = [...traces].sort((a, b) => startOf(b) - startOf(a));
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://localhost");
      const { searchParams: query } = url;
      this.asked.push({ path: url.pathname, query, authorization: request.headers.authorization ?? "" });
      const answer = (value: unknown): void => {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
      };
      const within = (service: string | null, fromUs: number, toUs: number, limit: number): JaegerTrace[] =>
        newestFirst
          .filter((trace) => Object.values(trace.processes).some(({ serviceName }) => serviceName === service))
          .filter((trace) => startOf(trace) >= fromUs && startOf(trace) <= toUs)
          .slice(0, limit);
      if (url.pathname === "/api/traces" && apis.includes("v1")) {
        const data = within(
          query.get("service"),
          Number(query.get("start")),
          Number(query.get("end")),
          Number(query.get("limit")),
        );
        answer({ data, total: 0, limit: 0, offset: 0, errors: null });
      } else if (/^\/api\/traces\/[0-9a-f]+$/.test(url.pathname) && apis.includes("v1")) {
        const found = traces.filter(({ traceID }) => url.pathname.endsWith(traceID));
        if (found.length > 0) answer({ data: found });
        else response.writeHead(404).end('{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}');
      } else if (/^\/api\/v3\/traces\/[0-9a-f]+$/.test(url.pathname) && apis.includes("v3")) {
        const data = traces.filter(({ traceID }) => url.pathname.endsWith(traceID));
        if (data.length === 0) response.writeHead(404).end('{"error":{"httpCode":404,"message":"No traces found"}}');
        else answer({ result: JSON.parse(protoToJson("traces", encodeTraces(resourceSpansOf({ data })))) as unknown });
      } else if (url.pathname === (apis.includes("v1") ? "/api/services" : "/api/v3/services")) {
        answer(apis.includes("v1") ? { data: ["omni-proxy"], total: 1 } : { services: ["omni-proxy"] });
      } else if (url.pathname === "/api/v3/traces" && apis.includes("v3")) {
        const [from, to] = ["min", "max"].map((end) => Date.parse(query.get(`query.start_time_${end}`) ?? "") * 1000);
        const data = within(
          query.get("query.service_name"),
          from as number,
          to as number,
          Number(query.get("query.num_traces")),
        );
        const spelled = JSON.parse(protoToJson("traces", encodeTraces(resourceSpansOf({ data })))) as unknown;
        answer({ result: spelled });
      } else response.writeHead(404).end("404 page not found");
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function startOf(trace: JaegerTrace): number {
  return Math.min(...trace.spans.map(({ startTime }) => startTime));
}
