/** Traces as the shim would have made them of the requests that a mock was sent. */
import type { JaegerTrace } from "../../src/offline/jaeger/model.ts";
import type { MockedAnswer } from "./chat-mock.ts";
import { convertToJaeger, Workplace } from "./offline.ts";

function rootTag(trace: JaegerTrace, key: string): string {
  const root = trace.spans.find(({ operationName }) => operationName === "Trace for Omni Proxy");
  return String(root?.tags?.find((tag) => tag.key === key)?.value);
}

/** @returns what makes a trace of an answer: a captured request that went well, with both of vLLM's spans, under its ids */
export async function probedTraces(): Promise<(answer: MockedAnswer) => JaegerTrace> {
  const place = new Workplace();
  try {
    const otlp = [place.recording("proxy-vllm/grpc")];
    const { traces } = await convertToJaeger(place.logs("proxy-vllm/grpc"), place.at("out.json"), { otlp });
    const captured = traces.find(
      (trace) =>
        rootTag(trace, "omni.outcome") === "ok" &&
        /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(rootTag(trace, "request_id")) &&
        trace.spans.filter(({ operationName }) => operationName === "llm_request").length === 2,
    ) as JaegerTrace;
    const id = rootTag(captured, "request_id");
    return ({ headers }) =>
      JSON.parse(
        JSON.stringify(captured)
          .replaceAll(captured.traceID, String(headers["traceparent"]).slice(3, 35))
          .replaceAll(id, String(headers["x-request-id"])),
      ) as JaegerTrace;
  } finally {
    place.remove();
  }
}
