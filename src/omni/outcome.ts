/** How a request ended, as far as the proxy's lines tell (docs/merge.md, omni.outcome). */
import { D_RUNNING, FIRST_TOKEN, P_RUNNING, SECOND_TOKEN } from "./actions.ts";
import type { FailureLine, ProxyRequest } from "./proxy-request.ts";

export const OUTCOMES = [
  "ok",
  "client_disconnected",
  "timeout",
  "rejected",
  "prefill_failed",
  "decode_failed",
  "incomplete",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** The outcome, and the text of the line that tells it ("" when none does). */
export interface Verdict {
  readonly outcome: Outcome;
  readonly text: string;
}

/** An answer that was read at once and ended within this was whole, even if its client hung up before the proxy did (a keep-alive client does). */
const WHOLE_ANSWER_US = 1000;
const CLIENT_CLOSED = 499;
const LEFT_MIDWAY = / while (?:reading upstream|sending request to upstream)/;

/** Judges a request; the first rule that holds wins. */
export function verdictOf(request: ProxyRequest): Verdict {
  const { failures, status } = request;
  const found = (is: (line: FailureLine) => boolean): FailureLine | undefined => failures.find(is);
  const said = (outcome: Outcome, line: FailureLine | undefined, otherwise = ""): Verdict => ({
    outcome,
    text: line?.text ?? otherwise,
  });

  const whole = isWholeAnswer(request);
  const left = found(
    (line) =>
      line.status === CLIENT_CLOSED || (line.failure === "client_closed" && (LEFT_MIDWAY.test(line.text) || !whole)),
  );
  if (left || status === CLIENT_CLOSED) return said("client_disconnected", left);

  const timeout = found((line) => line.text.includes("(110:"));
  if (timeout) return said("timeout", timeout);

  const rejected = found((line) => line.status >= 400 && line.status < 500);
  if (rejected || (status >= 400 && status < 500)) return said("rejected", rejected, `upstream answered ${status}`);

  const prefill =
    found((line) => line.failure === "prefill_failed") ?? found((line) => line.subrequest && isUpstreamFailure(line));
  if (prefill) return said("prefill_failed", found((line) => line.subrequest && isUpstreamFailure(line)) ?? prefill);

  const decode = found((line) => isUpstreamFailure(line) && line.afterDecodeBegan);
  if (decode || (status >= 500 && request.has(D_RUNNING)))
    return said("decode_failed", decode, `upstream answered ${status}`);
  if (status >= 500 && request.has(P_RUNNING)) return said("prefill_failed", undefined, `the proxy answered ${status}`);

  if (!request.ended) return { outcome: "incomplete", text: "the log has no end of this request" };
  return { outcome: "ok", text: "" };
}

/** Failures of the serving side; a rejection and a client that left are none (semantic conventions for HTTP server spans). */
export function isError(outcome: Outcome): boolean {
  return (
    outcome === "timeout" || outcome === "prefill_failed" || outcome === "decode_failed" || outcome === "incomplete"
  );
}

function isUpstreamFailure(line: FailureLine): boolean {
  return line.failure === "io_failed" || line.failure === "upstream_closed";
}

function isWholeAnswer(request: ProxyRequest): boolean {
  const first = request.unixUs(FIRST_TOKEN);
  const last = request.lastUs();
  return (
    first !== undefined &&
    !request.has(SECOND_TOKEN) &&
    request.ended &&
    last !== undefined &&
    last - first <= WHOLE_ANSWER_US
  );
}
