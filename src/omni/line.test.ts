import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PROXY_ACTIONS, RECEIVED } from "./actions.ts";
import {
  ACTION,
  ALIAS,
  ALLOCATE,
  ENGINE,
  FAILURE,
  LineParser,
  NGINX_START,
  OTHER,
  POLICY,
  RELEASE_STATS,
  SCHEDULE,
  START_TIME,
  TRACEPARENT,
} from "./line.ts";

const SUFFIX =
  ', client: 10.1.2.3, server: localhost, request: "POST /v1/chat/completions?key=1 HTTP/1.1", host: "localhost"';
const PREFIX = "2026/11/22 04:34:52 [info] 13233#0: ";

function parse(line: string): LineParser {
  const parser = new LineParser();
  parser.parse(Buffer.from(line, "latin1"));
  return parser;
}

function received(id: string, suffix = SUFFIX): LineParser {
  return parse(`${PREFIX}*7 <<<Action: Time received; Timestamp:1304.539332; RequestID:${id}${suffix}`);
}

describe("LineParser", () => {
  it("reads an action with its connection, stamp, id and request", () => {
    const line = received("64c201b8-f627-4fa3-940a-a2862a68a07a");
    expect([line.kind, line.connection, line.pid, line.action, line.timeUs, line.timeText(), line.idKey()]).toEqual([
      ACTION,
      7,
      13233,
      RECEIVED,
      1_304_539_332,
      "1304.539332",
      "64c201b8-f627-4fa3-940a-a2862a68a07a",
    ]);
    expect([line.client(), line.request(), line.prefixSecond]).toEqual([
      "10.1.2.3",
      { method: "POST", path: "/v1/chat/completions" },
      Date.UTC(2026, 10, 22, 4, 34, 52) / 1000,
    ]);
  });

  it("ends the id in front of nginx's activity text when there is one", () => {
    const later = (text: string): string =>
      parse(`${PREFIX}*7 <<<Action: Proxy got first token; Timestamp:1.5; RequestID:${text}`).idKey();
    expect(later(`abc while reading response header from upstream${SUFFIX}`)).toBe("abc");
    expect(later("abc while sending to client")).toBe("abc");
    expect(later(`a while reading upstream while sending to client${SUFFIX}`)).toBe("a while reading upstream");
  });

  it.each([
    "a id, client: 1",
    'x; y="z", while sending',
    "id while reading",
    "",
    "id-\xc3\xbc\xe4\xb8\xad",
    "\xff\xfe broken",
    "<<<Action: Received all tokens; Time",
  ])("keeps a hostile id whole when it is %j", (id) => {
    expect(received(id).idKey()).toBe(id);
    expect(received(id).action).toBe(RECEIVED);
  });

  it("takes a scheduler line's id to the line's end", () => {
    const line = parse(`${PREFIX}<<<Action: Enter state P scheduled; Timestamp:1056.623315; RequestID:a while b`);
    expect([line.kind, line.connection, line.idKey()]).toEqual([ACTION, -1, "a while b"]);
  });

  it("reads what ties lines to requests", () => {
    expect(parse(`${PREFIX}*7 Allocate Req:12${SUFFIX}`)).toMatchObject({ kind: ALLOCATE, number: 12 });
    expect(parse(`${PREFIX}[Decode-3] Schedule to: 0 (load=29, group=0)`)).toMatchObject({
      kind: SCHEDULE,
      number: 3,
      connection: -1,
    });
    expect(parse(`${PREFIX}[Prefill-Sort] Order 0: slot=0 tokens=29 weight=0.00`)).toMatchObject({ kind: OTHER });
    expect(parse(`${PREFIX}*7 [Prefill-0]: enter main request handler, policy:2${SUFFIX}`)).toMatchObject({
      kind: POLICY,
      number: 2,
    });
    expect(parse(`${PREFIX}nginx/1.28.0`)).toMatchObject({ kind: NGINX_START });
    expect(
      parse(`${PREFIX}*7 ****Action: Inject start_time****; start_time:1795321890936880000${SUFFIX}`),
    ).toMatchObject({ kind: START_TIME, timeUs: 1_795_321_890_936_880 });
    expect(
      parse(`${PREFIX}*7 [Decode Release Stats] req=0, prompt_tokens=29, decoded_tokens=6; decode_idx=0${SUFFIX}`),
    ).toMatchObject({ kind: RELEASE_STATS, number: 29, second: 6 });
    expect(parse("x Raw request ID to return to client: A b, internal vLLM request ID: B")).toMatchObject({
      kind: ALIAS,
      text: "A b",
      alias: "B",
    });
  });

  it("takes exactly 55 characters of an injected traceparent, whose buffer has no end", () => {
    const parent = "00-1d7720776ee4b02183075fc0860cd98b-96b2ce04d7ad844e-01";
    expect(
      parse(
        `${PREFIX}*1 ****Action: Inject Traceparent****; Timestamp:1795321890.936877; trace_headers:${parent}\x01rubbish${SUFFIX}`,
      ),
    ).toMatchObject({
      kind: TRACEPARENT,
      injected: true,
      text: parent,
    });
    expect(parse(`${PREFIX}*1 ****Traceparent already exists****; trace_headers:00-abc${SUFFIX}`)).toMatchObject({
      kind: TRACEPARENT,
      injected: false,
      text: "00-abc",
    });
  });

  it("tells failures apart", () => {
    const upstream = `${SUFFIX}, subrequest: "/prefill_sub/v1", upstream: "http://127.0.0.1:18201/v1"`;
    expect(
      parse(`${PREFIX}*7 [Prefill-16] subrequest failed with code 502 while sending to client${upstream}`),
    ).toMatchObject({ kind: FAILURE, failure: "prefill_failed", number: 502 });
    expect(parse(`${PREFIX}*7 [Prefill-16] subrequest returned non-success status:400${upstream}`)).toMatchObject({
      failure: "prefill_failed",
      number: 400,
    });
    const timeout = parse(
      `${PREFIX}*7 upstream timed out (110: Connection timed out) while reading response header from upstream${upstream}`,
    );
    expect(timeout).toMatchObject({
      failure: "timeout",
      text: "upstream timed out (110: Connection timed out) while reading response header from upstream",
    });
    expect([timeout.isSubrequest(), timeout.upstream()]).toEqual([true, "127.0.0.1:18201"]);
    expect(
      parse(
        `${PREFIX}*7 epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while reading upstream${SUFFIX}`,
      ),
    ).toMatchObject({
      failure: "client_closed",
    });
  });

  it("reads omnilogger lines, names with a comma included", () => {
    const line = parse(
      "2026-11-22 04:31:28,123 - <<<Action: Start pull kv; Timestamp:1735000000.0519014; RequestID:chatcmpl-x; Role:decode_10.0.0.3",
    );
    expect(line).toMatchObject({ kind: ENGINE, role: "decode", roleHost: "10.0.0.3", timeUs: 1_735_000_000_051_901 });
    expect(line.idKey()).toBe("chatcmpl-x");
    expect(
      parse("<<<Action: Decode send ip, rank; Timestamp:1735000000.1; RequestID:chatcmpl-x; Role:decode_10.0.0.3"),
    ).toMatchObject({ kind: ENGINE, engineAction: -1 });
    expect(
      parse("<<<Action: Secend decode output token; Timestamp:1735000000.1; RequestID:chatcmpl-x; Role:decode_h")
        .engineAction,
    ).toBeGreaterThan(0);
  });

  it("never throws and stays inside the line, whatever the bytes", () => {
    const pieces = fc.constantFrom(
      PREFIX,
      "*7 ",
      "<<<Action: ",
      ...PROXY_ACTIONS,
      "; Timestamp:",
      "1304.5",
      "9".repeat(30),
      "; RequestID:",
      SUFFIX,
      " while sending to client",
      "\0",
      "****",
      "[Prefill-",
      "; Role:decode_",
      "{",
      'rcved:"',
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(pieces, fc.string({ maxLength: 12 })), { maxLength: 12 }),
        fc.nat(20),
        (parts, lead) => {
          const text = parts.join("");
          const bytes = Buffer.from(`${"#".repeat(lead)}${text}\nnext line, client: x`, "latin1");
          const parser = new LineParser();
          const end = lead + Buffer.byteLength(text, "latin1");
          parser.parse(bytes, lead, end);
          if (parser.kind === ACTION || parser.kind === ENGINE) {
            expect(parser.idEnd).toBeLessThanOrEqual(end);
            expect(parser.idStart).toBeLessThanOrEqual(parser.idEnd);
          }
          expect(Number.isFinite(parser.timeUs)).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
