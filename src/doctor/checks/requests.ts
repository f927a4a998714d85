/** Whether log lines and spans meet, and whether the clocks agree: from the log itself and from a running omnishim. */
import type { LogFacts, RunningFacts } from "../facts.ts";
import type { Draft } from "../finding.ts";
import { total } from "../samples.ts";
import { listText, shareText } from "../words.ts";

/** Fewer requests say nothing. */
const FEWEST_REQUESTS = 5;
/** The bound of the alert OmnishimMissesDecodeSpans (deploy/prometheus-rules.yml). */
const LEAST_JOINED = 0.5;
/** Without an id of its own a request's spans cannot be told from others'. */
const LEAST_NAMED = 0.9;
/** The bound of the alert OmnishimClockOff. */
const MOST_OFFSET_SECONDS = 0.05;

const MERGE = ["connectors", "request_merge"];

/** Joining, as the counters of the running program have it. @param mergePath of the connector in the configuration */
export function checkJoining(running: RunningFacts, mergePath: readonly string[] = MERGE): Draft | undefined {
  const { samples } = running;
  const seen = total(samples, "omnishim_requests_seen");
  if (seen === undefined) return undefined;
  const base = { check: "request-ids", path: mergePath } as const;
  const joined = total(samples, "omnishim_requests_with_decode_span") ?? 0;
  const share = `${shareText(joined, seen)} requests since its start have a decode span`;
  if (seen < FEWEST_REQUESTS)
    return { ...base, severity: "note", found: `omnishim has seen ${seen} requests: too few to tell whether ids join` };
  if (joined / seen >= LEAST_JOINED) return { ...base, severity: "ok", found: share };
  const spans = total(samples, "otelcol_receiver_accepted_spans") ?? 0;
  if (spans === 0)
    return {
      ...base,
      severity: "error",
      found: `${share}, because vLLM has sent no span at all`,
      wanted: "spans of both vLLM instances",
      change: "vllm serve … --otlp-traces-endpoint http://THIS_HOST:4317",
    };
  const causes = samples
    .filter(({ name, value }) => name === "omnishim_unmerged_spans" && value > 0)
    .sort((a, b) => b.value - a.value);
  const cause = causes[0]?.labels["cause"] ?? "";
  const why = causes.map(({ labels, value }) => `${labels["cause"]}: ${value}`).join(", ");
  return {
    ...base,
    severity: "error",
    found: `${share}; spans that found no place: ${why === "" ? "none" : why}`,
    wanted: `at least ${100 * LEAST_JOINED} %`,
    change: CHANGES[cause] ?? "see docs/omni-proxy.md",
  };
}

const CHANGES: Readonly<Record<string, string>> = {
  unknown_request:
    "set_request_id on; in the proxy's configuration, so that vLLM gets the id that the log has; or include the log of the proxy that these requests went through; or connectors::request_merge::span_wait: 2s when its lines come late",
  no_request_id:
    "let the spans carry gen_ai.request.id: a vLLM of 0.8 or newer; spans of other programs are passed on as they are",
  ambiguous: "clients must not send one X-Request-Id twice at a time; set_request_id on; lets the proxy make them",
  role_unknown:
    "connectors::request_merge::roles: {prefill: {service.name: [vllm-prefill]}, decode: {service.name: [vllm-decode]}}",
};

/** Ids, as the log itself has them. */
export function checkIds({ path, files }: LogFacts): Draft[] {
  return files.flatMap(({ file, content }): Draft[] => {
    const ids = content?.requestIds ?? [];
    if (ids.length < FEWEST_REQUESTS) return [];
    const named = ids.filter((id) => id !== "" && id !== "-");
    const share = `${shareText(new Set(named).size, ids.length)} of the last requests in ${file} have an id of their own`;
    if (new Set(named).size / ids.length >= LEAST_NAMED)
      return [{ check: "request-ids", severity: "ok", found: share, path }];
    return [
      {
        check: "request-ids",
        severity: named.length / ids.length < LEAST_JOINED ? "error" : "warning",
        found: share,
        wanted: "an X-Request-Id for every request: it is what log and spans are joined by",
        change: "set_request_id on; in the proxy's configuration",
        path,
      },
    ];
  });
}

/** The clocks of vLLM's hosts, as the running program measures them against the proxy's. */
export function checkClocks(running: RunningFacts, mergePath: readonly string[] = MERGE): Draft[] {
  const path = [...mergePath, "clock_skew"];
  const offsets = running.samples.filter(({ name }) => name === "omnishim_clock_offset_seconds");
  if (offsets.length === 0) return [];
  const uncertaintyOf = (instance: string | undefined): number =>
    running.samples.find(
      ({ name, labels }) => name === "omnishim_clock_offset_uncertainty_seconds" && labels["instance"] === instance,
    )?.value ?? 0;
  const off = offsets.filter(
    ({ labels, value }) => Math.abs(value) > MOST_OFFSET_SECONDS && Math.abs(value) > uncertaintyOf(labels["instance"]),
  );
  if (off.length === 0)
    return [
      {
        check: "clock",
        severity: "ok",
        found: `the clocks of ${offsets.length} vLLM instances agree with the proxy's`,
        path,
      },
    ];
  const said = off.map(
    ({ labels, value }) =>
      `${labels["instance"]} by ${seconds(value)} (± ${seconds(uncertaintyOf(labels["instance"]))})`,
  );
  // When all are off by the same, it is the proxy's own host that is wrong.
  const values = off.map(({ value }) => value);
  const isProxy =
    off.length > 1 && off.length === offsets.length && Math.max(...values) - Math.min(...values) < MOST_OFFSET_SECONDS;
  return [
    {
      check: "clock",
      severity: "error",
      found: `clocks are off against the proxy's: ${listText(said)}${isProxy ? "; all by the same, so the proxy's host is the likelier one" : ""}`,
      wanted: `less than ${MOST_OFFSET_SECONDS} s`,
      change: `chrony on these hosts (docs/clock-sync.md); until then ${path.join("::")}: correct`,
      path,
    },
  ];
}

function seconds(value: number): string {
  return `${Number(value.toPrecision(3))} s`;
}
