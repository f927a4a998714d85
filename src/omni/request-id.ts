/**
 * From vLLM's `gen_ai.request.id` to the X-Request-Id that Omni Proxy logged. Ids are compared as "binary strings": one
 * character a byte, because the proxy logs what the client sent, in whatever encoding, cut at 36 bytes.
 */
import { LOGGED_ID_BYTES } from "./line.ts";

/** vLLM's prefixes (entrypoints/openai), and the index that `n` > 1 puts in front of them in some versions. */
const PREFIX =
  /^(?:\d{1,6}_)?(?:chatcmpl|cmpl|embd|embd-rerank|score|rerank|classify|pool|responses|resp|tokn|trsc|generate-tokens)-/;
const COMPLETION = /^(?:\d{1,6}_)?cmpl-/;
const BEAM = /-[0-9a-f]{16}-beam-\d{1,6}$/;
const INDEX = /-\d{1,6}$/;
/** vLLM's later random tail (vllm#27987). */
const TAIL = /-[0-9a-f]{8}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const NIL_UUID = "00000000000000000000000000000000";

/** A span's id text taken apart: the forms that a request may be known by, most specific first, as texts. */
function forms(text: string): string[] {
  const bare = text.replace(PREFIX, "");
  if (COMPLETION.test(text)) {
    // A completion's id always has an index behind it: `cmpl-job-1` is prompt 1 of `job` and never request `job-1`.
    const stripped = [bare, bare.replace(TAIL, "")].map((base) =>
      BEAM.test(base) ? base.replace(BEAM, "") : base.replace(INDEX, ""),
    );
    const known = stripped.filter((form) => form !== bare && form !== bare.replace(TAIL, ""));
    return known.length > 0 ? known : [bare];
  }
  const found = [bare.replace(BEAM, ""), bare];
  if (bare !== text) found.push(text);
  found.push(bare.replace(TAIL, ""));
  return found;
}

/** The bytes that `text` may stand for: UTF-8, or Latin-1 decoded bytes (mojibake: `Ã¼` for `ü`). */
function binaries(text: string): string[] {
  if (isAscii(text)) return [text];
  const utf8 = Buffer.from(text, "utf8").toString("latin1");
  return utf8 === text || !isLatin1(text) ? [utf8] : [text, utf8];
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}

/**
 * The request keys that a span's id leads to, most specific first, each cut to the 36 bytes that the log has.
 * @returns distinct binary strings; may contain "" for `chatcmpl-` (an empty X-Request-Id).
 */
export function candidates(text: string): string[] {
  const keys = new Set<string>();
  for (const form of forms(text)) for (const binary of binaries(form)) keys.add(binary.slice(0, LOGGED_ID_BYTES));
  return [...keys];
}

/** What stands in front of a UUID in the ids of which nothing else has to be taken off; told by the expressions above. */
const PLAIN_HEADS: ReadonlySet<string> = new Set(
  ["", "chatcmpl-", "embd-", "score-", "rerank-", "classify-", "pool-", "resp-"].filter(
    (head) => head.replace(PREFIX, "") === "" && !COMPLETION.test(head),
  ),
);

/** `candidates(text)[0]`, at once for the ids of nearly all spans: a UUID behind one of vLLM's prefixes. */
export function firstCandidate(text: string): string {
  const head = text.length - LOGGED_ID_BYTES;
  if (head >= 0 && isUuidAt(text, head)) {
    if (head === 0) return text;
    if (PLAIN_HEADS.has(text.slice(0, head))) return text.slice(head);
  }
  return candidates(text)[0] as string;
}

/** True when `text` ends, from `at` on, in 8-4-4-4-12 hex digits of either case. */
function isUuidAt(text: string, at: number): boolean {
  for (let i = 0; i < LOGGED_ID_BYTES; i++) {
    const c = text.charCodeAt(at + i);
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (c !== 45) return false;
    } else if (!((c >= 48 && c <= 57) || ((c | 32) >= 97 && (c | 32) <= 102))) return false;
  }
  return true;
}

const STEPS: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["prefix off", PREFIX],
  ["random tail off", TAIL],
  ["beam suffix off", BEAM],
  ["index off", INDEX],
];
/** Positions in STEPS, in the order in which `forms` tries them. */
const WAYS = [[], [0], [0, 2], [0, 3], [0, 1], [0, 1, 2], [0, 1, 3]] as const;

/**
 * How a span's id leads to a request's key, for people who ask why the two belong together: "prefix off", "index off",
 * "cut to 36 bytes", …; empty when they are the same. Undefined when it does not.
 */
export function stepsTo(text: string, key: string): string[] | undefined {
  for (const way of WAYS) {
    let form = text;
    for (const step of way) form = form.replace((STEPS[step] as (typeof STEPS)[number])[1], "");
    const found = binaries(form).find((binary) => binary.slice(0, LOGGED_ID_BYTES) === key);
    if (found === undefined) continue;
    const steps = way.map((step) => (STEPS[step] as (typeof STEPS)[number])[0]);
    if (found !== Buffer.from(form, "utf8").toString("latin1")) steps.push("read as the Latin-1 bytes that it was");
    if (found.length > LOGGED_ID_BYTES) steps.push(`cut to the ${LOGGED_ID_BYTES} bytes that the proxy logs`);
    return steps;
  }
  return undefined;
}

/** The longest request id that the span's id tells, as a binary string: what the log's 36 bytes were cut from. */
export function fullId(text: string): string {
  return binaries(forms(text)[0] as string)[0] as string;
}

/** The one form under which spans of one request meet when no log line is known: prefix and index off, mojibake undone, cut to 36 bytes. */
export function canonicalId(text: string): string {
  return fullId(text).slice(0, LOGGED_ID_BYTES);
}

/** The 32 hex digits of an id that is a UUID (8-4-4-4-12, either case, not nil), else undefined. */
export function uuidTraceId(id: string): string | undefined {
  if (id.length !== 36 || !UUID.test(id)) return undefined;
  const hex = id.replaceAll("-", "").toLowerCase();
  return hex === NIL_UUID ? undefined : hex;
}

/** A binary string as text: UTF-8, broken sequences as U+FFFD. */
export function textOf(binary: string): string {
  return Buffer.from(binary, "latin1").toString("utf8");
}
