import type { ManifestEntry } from "../kit/captures.ts";

/**
 * What `omni.outcome` must say of a captured request, by what its sender noted (design/merge.md's table, applied by hand to
 * each kind of request). `access` is whether the program was given access.log too: only there a 4xx of decode can be seen.
 */
const byNote: readonly (readonly [note: RegExp, outcome: string, withoutAccessLog?: string])[] = [
  [/^prefill never answers/, "timeout"],
  [/^prefill (answers 500|upstream down)/, "prefill_failed"],
  [/^decode answers 400/, "rejected", "ok"],
  // nginx writes no line about it, and the status was sent before.
  [/^decode resets mid-stream/, "ok"],
  [/^decode upstream down/, "decode_failed"],
  [/closes (after|while)/, "client_disconnected"],
  [/^(malformed JSON body|POST with an empty body|GET, no body)$/, "rejected"],
  [/^unknown model/, "rejected"],
];

/** @param capture the run's name: some kinds end in another way there */
export function expectedOutcome(capture: string, entry: ManifestEntry, access: boolean): string {
  const status = Number(entry.outcome.status_line?.split(" ")[1] ?? 0);
  if (capture === "proxy-mock/seq-tokenizer-broken") return "incomplete";
  // From the first n=2 on, its prefill engine was dead and answered everything with 500.
  if (capture === "proxy-vllm/vllm085-grpc-n2-crash") return status === 500 ? "prefill_failed" : "ok";
  if (/^malformed (short )?traceparent/.test(entry.note))
    // The proxy garbles the next header, so the first server that is asked answers 400; under the aggregation policy that is decode.
    return capture === "proxy-mock/aggregation" && !access ? "ok" : "rejected";
  const [, outcome, withoutAccessLog] = byNote.find(([note]) => note.test(entry.note)) ?? [];
  if (outcome !== undefined) return access ? outcome : (withoutAccessLog ?? outcome);
  if (status !== 200)
    throw new Error(`${capture} ${entry.i}: status ${status} and no rule for ${JSON.stringify(entry.note)}`);
  return "ok";
}
