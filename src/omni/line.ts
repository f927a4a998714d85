/**
 * One line of Omni Proxy's error_log or of a vLLM-side omnilogger file, read as bytes: ids are bytes, may be broken
 * UTF-8, and a string a line would cost more than the merge itself. Line forms: nginx's error log format, and the
 * messages seen in captures of the real proxy (test/fixtures/captures).
 */
import { ENGINE_ACTION_INDEX, PROXY_ACTION_INDEX, RECEIVED, type Role } from "./actions.ts";
import { find, findLast, isDigit, starts, startsWith } from "./bytes.ts";

/** What a line tells: `LineParser.kind` after `parse`. */
export const OTHER = 0;
/** `<<<Action: …` of the proxy: action, timeUs, id range. */
export const ACTION = 1;
/** A traceparent header was there or was injected: `injected`, `text`. */
export const TRACEPARENT = 2;
/** `Inject start_time`: `timeUs` is unix time. */
export const START_TIME = 3;
/** `Allocate Req:S`: `number` is the slot. */
export const ALLOCATE = 4;
/** `[Prefill-S] Schedule to` or `[Decode-S] Schedule to`: `number` is the slot. */
export const SCHEDULE = 5;
/** `enter main request handler, policy:N`: `number` is the policy. */
export const POLICY = 6;
/** Something failed: `failure` says what, `number` is the status code when one is named, `text` the message. */
export const FAILURE = 7;
/** `nginx/VERSION`: connection numbers start again. */
export const NGINX_START = 8;
/** `[Decode Release Stats]`: `number` = prompt_tokens, `second` = decoded_tokens, both the proxy's own numbers. */
export const RELEASE_STATS = 9;
/** An omnilogger action: engineAction (-1 when it makes no span), timeUs (unix), id range, role, roleHost. */
export const ENGINE = 10;
/** `Raw request ID to return to client: A, internal vLLM request ID: B`: `text` = A, `alias` = B, binary strings. */
export const ALIAS = 11;
/** A row of the access log; read it with access-row.ts. */
export const ACCESS = 12;
/** `prefill: req->metrics.max_tokens = N`: `number` is what the client asked for. */
export const MAX_TOKENS = 13;

/** What a FAILURE line reports; omni.outcome is made from these (outcome.ts). */
export type Failure = "client_closed" | "timeout" | "prefill_failed" | "io_failed" | "upstream_closed";

const CLIENT = Buffer.from(", client: ");
const ACTION_MARK = Buffer.from("<<<Action: ");
const TIMESTAMP = Buffer.from("; Timestamp:");
const REQUEST_ID = Buffer.from("; RequestID:");
const ROLE = Buffer.from("; Role:");
const UPSTREAM = Buffer.from('upstream: "');
const REQUEST = Buffer.from(', request: "');
const SUBREQUEST = Buffer.from('subrequest: "');
const HOST = Buffer.from(', host: "');
const TRACE_HEADERS = Buffer.from("trace_headers:");
const RCVED = Buffer.from('rcved:"');
const RAW_ID = Buffer.from("Raw request ID to return to client: ");
/** nginx's activity texts between a message and its suffix (`log->action` in nginx's sources): a closed list. */
const ACTIVITY =
  / while (?:(?:sending|connecting|proxying)(?: request| response)? to (?:client|upstream)|reading (?:upstream|response header from upstream|client request(?: line|s? headers?| body)?|client pipelined request)|closing request|logging request|waiting for request|keepalive|prebuffering (?:response|upstream)|processing (?:HTTP\/2|HTTP\/3) connection|initializing request|internally redirecting)$/;
/** UUID_STR_LEN - 1: the proxy cuts ids here in its log. */
export const LOGGED_ID_BYTES = 36;
/** The longest part of an omnilogger line in front of `<<<Action:` (`asctime - `, a logger's name, a level). */
const ENGINE_PREFIX_BYTES = 128;
/** Values of `Role:` that are kept taken apart. */
const MOST_ROLES = 4096;
/** A W3C traceparent of version 00 (the proxy's buffer has no end mark behind it). */
const TRACEPARENT_BYTES = 55;

/**
 * Reads one line at a time into its own fields, so that a line costs no allocation. The fields that `kind` names are
 * valid until the next `parse`; all others are stale.
 */
export class LineParser {
  kind = OTHER;
  pid = 0;
  /** nginx's connection number (`*N`), or -1 where the line has none. */
  connection = -1;
  /** The nginx prefix's local time read as if it were UTC, unix seconds; 0 when there is none. */
  prefixSecond = 0;
  action = 0;
  /** The stamp in microseconds, as logged: since boot or since 1970. */
  timeUs = 0;
  idStart = 0;
  idEnd = 0;
  number = 0;
  second = 0;
  injected = false;
  failure: Failure = "prefill_failed";
  text = "";
  alias = "";
  engineAction = -1;
  role: Role = "prefill";
  roleHost = "";
  /** The line being read; ranges point into it. */
  bytes: Buffer = Buffer.alloc(0);
  /** Behind it stand nginx's `, client: …` fields. */
  suffix = 0;
  #to = 0;
  #timeStart = 0;
  #timeEnd = 0;
  readonly #roles = new Map<string, { readonly role: Role; readonly host: string } | null>();
  #lastPrefix = "";
  #lastPrefixSecond = 0;

  /** Reads the line `bytes[from, to)` (without its line feed) and returns its kind. */
  parse(bytes: Buffer, from = 0, to: number = bytes.length): number {
    this.bytes = bytes;
    this.#to = to;
    this.connection = -1;
    this.prefixSecond = 0;
    this.kind = OTHER;
    // YYYY/MM/DD HH:MM:SS [level] PID#TID: *N message
    if (
      to - from > 28 &&
      bytes[from + 4] === 47 &&
      bytes[from + 7] === 47 &&
      bytes[from + 13] === 58 &&
      bytes[from + 20] === 91
    ) {
      return this.#nginxLine(from);
    }
    if (bytes[from] === 123) {
      if (find(bytes, RCVED, from, to) >= 0) this.kind = ACCESS;
      return this.kind;
    }
    return this.#engineLine(from);
  }

  /** The stamp's text as logged ("1056.622121"): part of the request's key. */
  timeText(): string {
    return this.bytes.toString("latin1", this.#timeStart, this.#timeEnd);
  }

  /** The id's bytes, one character a byte ("binary string"): the form in which ids are keys. */
  idKey(): string {
    return this.bytes.toString("latin1", this.idStart, this.idEnd);
  }

  /** True when the id on this line is `key` (a binary string). */
  idIs(key: string): boolean {
    if (this.idEnd - this.idStart !== key.length) return false;
    for (let i = 0; i < key.length; i++) if (this.bytes[this.idStart + i] !== key.charCodeAt(i)) return false;
    return true;
  }

  /** The value of `client: X` behind the message, or "". */
  client(): string {
    const at = find(this.bytes, CLIENT, this.suffix, this.#to);
    if (at < 0) return "";
    const text = this.bytes.toString("utf8", at + CLIENT.length, Math.min(this.#to, at + CLIENT.length + 256));
    return text.split(",", 1)[0] as string;
  }

  /** The Host header, `host: "X"` behind the message, or "". */
  authority(): string {
    const at = find(this.bytes, HOST, this.suffix, this.#to);
    if (at < 0) return "";
    const text = this.bytes.toString("utf8", at + HOST.length, Math.min(this.#to, at + HOST.length + 256));
    return text.split('"', 1)[0] as string;
  }

  /** Method and path of `request: "POST /path HTTP/1.1"`, the query left out; undefined when the line has none. */
  request(): { method: string; path: string } | undefined {
    const at = find(this.bytes, REQUEST, this.suffix, this.#to);
    if (at < 0) return undefined;
    const line = this.bytes.toString("utf8", at + REQUEST.length, Math.min(this.#to, at + REQUEST.length + 2048));
    const parts = /^(\S{1,32}) ([^\s?"]*)/.exec(line);
    return parts ? { method: parts[1] as string, path: parts[2] as string } : undefined;
  }

  /** host:port of `upstream: "…"` behind the message, or "". */
  upstream(): string {
    const at = find(this.bytes, UPSTREAM, this.suffix, this.#to);
    if (at < 0) return "";
    const text = this.bytes.toString("utf8", at + UPSTREAM.length, Math.min(this.#to, at + UPSTREAM.length + 512));
    return /^(?:https?:\/\/)?([^"/]*)/.exec(text)?.[1] ?? "";
  }

  /** True when the line is about the prefill subrequest. */
  isSubrequest(): boolean {
    return find(this.bytes, SUBREQUEST, this.suffix, this.#to) >= 0;
  }

  #nginxLine(from: number): number {
    const { bytes } = this;
    const to = this.#to;
    this.prefixSecond = this.#second(from);
    let at = from + 21;
    while (at < to && bytes[at] !== 93) at++; // ]
    at += 2;
    let pid = 0;
    for (; at < to && isDigit(bytes[at]); at++) pid = pid * 10 + (bytes[at] as number) - 48;
    if (bytes[at] !== 35) return this.kind; // #
    this.pid = pid;
    at++;
    while (at < to && isDigit(bytes[at])) at++;
    if (bytes[at] !== 58 || bytes[at + 1] !== 32) return this.kind; // ": "
    at += 2;
    if (bytes[at] === 42 && isDigit(bytes[at + 1])) {
      let number = 0;
      let digits = at + 1;
      for (; digits < to && isDigit(bytes[digits]); digits++) number = number * 10 + (bytes[digits] as number) - 48;
      if (bytes[digits] === 32) {
        this.connection = number;
        at = digits + 1;
      }
    }
    return this.#message(at);
  }

  #message(at: number): number {
    const { bytes } = this;
    const to = this.#to;
    switch (bytes[at]) {
      case 60: // <
        return this.#action(at);
      case 42: // *
        if (this.connection >= 0 && starts(bytes, at, to, "****")) this.#traceHeader(at);
        return this.kind;
      case 65: // A
        if (this.connection >= 0 && starts(bytes, at, to, "Allocate Req:") && this.#numberAt(at + 13))
          this.#is(ALLOCATE, at);
        return this.kind;
      case 91: // [
        return this.#bracket(at);
      case 110: // n
        if (this.connection < 0 && starts(bytes, at, to, "nginx/")) this.kind = NGINX_START;
        return this.kind;
      case 99: // c
        if (starts(bytes, at, to, "connect() failed (")) return this.#fail("io_failed", at);
        if (starts(bytes, at, to, "client prematurely closed connection")) return this.#fail("client_closed", at);
        return this.kind;
      case 101: // e
        return starts(bytes, at, to, "epoll_wait() reported that client prematurely closed connection")
          ? this.#fail("client_closed", at)
          : this.kind;
      case 114: // r
        return starts(bytes, at, to, "recv() failed (") ? this.#fail("io_failed", at) : this.kind;
      case 115: // s
        return starts(bytes, at, to, "send() failed (") ? this.#fail("io_failed", at) : this.kind;
      case 117: // u
        if (starts(bytes, at, to, "upstream timed out (110:")) return this.#fail("timeout", at);
        return starts(bytes, at, to, "upstream prematurely closed connection")
          ? this.#fail("upstream_closed", at)
          : this.kind;
      case 112: // p
        if (
          this.connection >= 0 &&
          starts(bytes, at, to, "prefill: req->metrics.max_tokens = ") &&
          this.#numberAt(at + 35)
        )
          this.#is(MAX_TOKENS, at);
        return this.kind;
      case 82: // R
        return this.#aliasLine(at);
      default:
        return this.kind;
    }
  }

  #is(kind: number, suffix: number): number {
    this.kind = kind;
    this.suffix = suffix;
    return kind;
  }

  #fail(failure: Failure, at: number): number {
    if (this.connection < 0) return this.kind;
    this.failure = failure;
    this.number = 0;
    const end = this.#messageEnd(at);
    this.text = this.bytes.toString("utf8", at, end);
    return this.#is(FAILURE, end);
  }

  /** Where `, client: ` begins, or the line's end. */
  #messageEnd(at: number): number {
    const end = find(this.bytes, CLIENT, at, this.#to);
    return end < 0 ? this.#to : end;
  }

  #numberAt(at: number): boolean {
    let number = 0;
    let end = at;
    for (; end < this.#to && isDigit(this.bytes[end]) && end - at < 15; end++)
      number = number * 10 + (this.bytes[end] as number) - 48;
    this.number = number;
    return end > at;
  }

  #bracket(at: number): number {
    const { bytes } = this;
    const to = this.#to;
    const prefill = starts(bytes, at, to, "[Prefill-");
    if (prefill || starts(bytes, at, to, "[Decode-")) {
      const slot = at + (prefill ? 9 : 8);
      if (!this.#numberAt(slot)) return this.kind; // [Prefill-Sort], [Decode-Sort], [Prefill-Batch-…]
      let rest = slot;
      while (isDigit(bytes[rest])) rest++;
      if (bytes[rest] !== 93) return this.kind;
      rest++;
      if (this.connection < 0) return starts(bytes, rest, to, " Schedule to") ? this.#is(SCHEDULE, rest) : this.kind;
      if (starts(bytes, rest, to, ": enter main request handler, policy:"))
        return this.#numberAt(rest + 37) ? this.#is(POLICY, rest) : this.kind;
      if (!prefill) return this.kind;
      const code = starts(bytes, rest, to, " subrequest failed with code ")
        ? 29
        : starts(bytes, rest, to, " subrequest returned non-success status:")
          ? 40
          : 0;
      if (code > 0 && this.#numberAt(rest + code)) {
        const status = this.number;
        this.#fail("prefill_failed", rest + 1);
        this.number = status;
      }
      return this.kind;
    }
    if (this.connection >= 0 && starts(bytes, at, to, "[Decode Release Stats]")) {
      const found = /prompt_tokens=(\d{1,15}), decoded_tokens=(\d{1,15})/.exec(
        bytes.toString("latin1", at, Math.min(to, at + 160)),
      );
      if (found) {
        this.number = Number(found[1]);
        this.second = Number(found[2]);
        return this.#is(RELEASE_STATS, at);
      }
    }
    return this.kind;
  }

  #traceHeader(at: number): void {
    const { bytes } = this;
    const to = this.#to;
    const end = this.#messageEnd(at);
    if (starts(bytes, at, to, "****Traceparent already exists****; trace_headers:")) {
      this.#traceparent(at + 50, end, false);
    } else if (starts(bytes, at, to, "****Action: Inject Traceparent****;")) {
      const value = find(bytes, TRACE_HEADERS, at, end);
      if (value >= 0) this.#traceparent(value + 14, Math.min(end, value + 14 + TRACEPARENT_BYTES), true);
    } else if (starts(bytes, at, to, "****Action: Inject start_time****; start_time:")) {
      // Nanoseconds since 1970; the proxy's own resolution is a microsecond.
      const ns = /^\d{16,19}/.exec(bytes.toString("latin1", at + 46, Math.min(end, at + 66)))?.[0];
      if (ns) {
        this.timeUs = Number(ns.slice(0, -3));
        this.#is(START_TIME, end);
      }
    }
  }

  #traceparent(from: number, to: number, injected: boolean): void {
    this.injected = injected;
    this.text = this.bytes.toString("latin1", from, Math.min(to, from + 256));
    this.#is(TRACEPARENT, to);
  }

  #action(at: number): number {
    const { bytes } = this;
    if (!startsWith(bytes, at, this.#to, ACTION_MARK)) return this.kind;
    const name = at + ACTION_MARK.length;
    const nameEnd = this.#stamp(name);
    if (nameEnd < 0) return this.kind;
    const action = PROXY_ACTION_INDEX.get(bytes.toString("latin1", name, nameEnd));
    if (action === undefined) return this.kind;
    this.action = action;
    this.#idRange();
    return this.#is(ACTION, this.idEnd);
  }

  /** Reads "; Timestamp:S.U; RequestID:" behind a name that starts at `at`; sets timeUs and idStart. Returns the name's end, or -1. */
  #stamp(at: number): number {
    const { bytes } = this;
    const to = this.#to;
    let nameEnd = at;
    while (nameEnd < to && bytes[nameEnd] !== 59) nameEnd++; // ;
    if (!startsWith(bytes, nameEnd, to, TIMESTAMP)) return -1;
    const from = nameEnd + TIMESTAMP.length;
    let p = from;
    let seconds = 0;
    for (; p < to && isDigit(bytes[p]); p++) seconds = seconds * 10 + (bytes[p] as number) - 48;
    if (p === from || p - from > 10) return -1;
    let micros = 0;
    let places = 0;
    if (bytes[p] === 46) {
      for (p++; p < to && isDigit(bytes[p]); p++) {
        if (places === 6) continue;
        micros = micros * 10 + (bytes[p] as number) - 48;
        places++;
      }
    }
    for (; places < 6; places++) micros *= 10;
    if (!startsWith(bytes, p, to, REQUEST_ID)) return -1;
    this.timeUs = seconds * 1e6 + micros;
    this.#timeStart = from;
    this.#timeEnd = p;
    this.idStart = p + REQUEST_ID.length;
    return nameEnd;
  }

  /**
   * Finds where the id ends. An id is what a client sent, so it may itself contain ", client: " or " while reading"; but
   * the log has at most 36 bytes of it, so of the places where it could end the last one within that reach is the true one.
   */
  #idRange(): void {
    const { bytes, idStart } = this;
    const to = this.#to;
    if (this.connection < 0) {
      this.idEnd = Math.min(to, idStart + LOGGED_ID_BYTES);
      return;
    }
    // The lines that name a request first are written before nginx has an activity.
    const bare = this.action <= RECEIVED;
    let found = -1;
    for (let at = find(bytes, CLIENT, idStart, to); at >= 0; at = find(bytes, CLIENT, at + 1, to)) {
      const end = bare ? at : this.#withoutActivity(at);
      if (end - idStart > LOGGED_ID_BYTES) break;
      found = end;
    }
    this.idEnd = found >= 0 ? found : Math.min(bare ? to : this.#withoutActivity(to), idStart + LOGGED_ID_BYTES);
  }

  /** `end` moved in front of an activity text, which is lower-case letters and spaces only. */
  #withoutActivity(end: number): number {
    const from = Math.max(this.idStart, end - 64);
    let at = end;
    while (at > from && isLowerOrSpace(this.bytes[at - 1])) at--;
    if (at === end) return end;
    const found = ACTIVITY.exec(this.bytes.toString("latin1", at, end));
    return found ? at + found.index : end;
  }

  /** `asctime - <<<Action: NAME; Timestamp:S.U; RequestID:chatcmpl-ID; Role:prefill_IP`. A name may contain a comma. */
  #engineLine(from: number): number {
    const { bytes } = this;
    const to = this.#to;
    const mark = find(bytes, ACTION_MARK, from, Math.min(to, from + ENGINE_PREFIX_BYTES));
    if (mark < 0) {
      const raw = find(bytes, RAW_ID, from, to);
      return raw < 0 ? this.kind : this.#aliasLine(raw);
    }
    const name = mark + ACTION_MARK.length;
    const nameEnd = this.#stamp(name);
    if (nameEnd < 0) return this.kind;
    const role = findLast(bytes, ROLE, this.idStart, to);
    if (role < 0) return this.kind;
    if (!this.#roleOf(bytes.toString("utf8", role + ROLE.length, Math.min(to, role + ROLE.length + 128))))
      return this.kind;
    this.idEnd = role;
    this.engineAction = ENGINE_ACTION_INDEX.get(bytes.toString("latin1", name, nameEnd)) ?? -1;
    return this.#is(ENGINE, role);
  }

  /** Sets role and roleHost; the same few values come again and again. */
  #roleOf(value: string): boolean {
    let told = this.#roles.get(value);
    if (told === undefined) {
      const parts = /^(prefill|decode)(?:_(.*))?$/.exec(value.trim());
      told = parts ? { role: parts[1] as Role, host: parts[2] ?? "" } : null;
      if (this.#roles.size < MOST_ROLES) this.#roles.set(value, told);
    }
    if (told === null) return false;
    this.role = told.role;
    this.roleHost = told.host;
    return true;
  }

  #aliasLine(at: number): number {
    if (!startsWith(this.bytes, at, this.#to, RAW_ID)) return this.kind;
    const text = this.bytes.toString("latin1", at, Math.min(this.#to, at + 2200));
    const found = /^Raw request ID to return to client: (.{1,1024}?), internal vLLM request ID: (\S{1,1024})/s.exec(
      text,
    );
    if (!found) return this.kind;
    this.text = found[1] as string;
    this.alias = found[2] as string;
    return this.#is(ALIAS, at);
  }

  #second(from: number): number {
    const text = this.bytes.toString("latin1", from, from + 19);
    if (text !== this.#lastPrefix) {
      this.#lastPrefix = text;
      const [, y, mo, d, h, mi, s] = /^(\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d):(\d\d)$/.exec(text) ?? [];
      this.#lastPrefixSecond =
        y === undefined ? 0 : Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(mi), Number(s)) / 1000;
    }
    return this.#lastPrefixSecond;
  }
}

function isLowerOrSpace(c: number | undefined): boolean {
  return c === 32 || (c !== undefined && c >= 97 && c <= 122);
}
