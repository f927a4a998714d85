/** OTLP JSON that cannot be read. `message` names the path, what was wanted, what was found and where. */
export class JsonError extends Error {
  /** "resourceSpans[0].scopeSpans[2].spans[1].traceId", "" at the top. */
  readonly path: string;
  /** Byte offset in the text. */
  readonly offset: number;

  constructor(bytes: Uint8Array, offset: number, expected: string) {
    const path = pathAt(bytes, offset);
    super(`${path && `${path}: `}expected ${expected}, found ${excerpt(bytes, offset)} at byte ${offset}`);
    this.name = "JsonError";
    this.path = path;
    this.offset = offset;
  }
}

/** How much of the text a message quotes. */
const EXCERPT = 40;

function excerpt(bytes: Uint8Array, offset: number): string {
  if (offset >= bytes.length) return "the end";
  const text = Buffer.from(bytes.subarray(offset, offset + EXCERPT)).toString("utf8");
  const token = /^(?:"(?:[^"\\]|\\.)*"?|[-+.\w]+|.)/su.exec(text)?.[0] ?? text;
  const cut = token.length === text.length && offset + EXCERPT < bytes.length;
  return `${JSON.stringify(token).slice(1, -1).replaceAll('\\"', '"')}${cut ? "..." : ""}`;
}

/**
 * Where in the document `offset` lies. Walks the text anew, so that reading need not keep track; the text before
 * `offset` has been read without fault.
 */
function pathAt(bytes: Uint8Array, offset: number): string {
  /** One entry for each open array (the index) or object (the key, once it has one). */
  const open: (number | string | undefined)[] = [];
  for (let at = 0; at < offset; ) {
    switch (bytes[at]) {
      case 0x7b: // {
        open.push(undefined);
        break;
      case 0x5b: // [
        open.push(0);
        break;
      case 0x7d:
      case 0x5d:
        open.pop();
        break;
      case 0x2c: {
        const last = open.pop();
        open.push(typeof last === "number" ? last + 1 : undefined);
        break;
      }
      case 0x22: {
        const end = stringEnd(bytes, at);
        if (end > offset) return spell(open);
        // In an object without a key yet, this string is the key.
        if (open.length > 0 && open.at(-1) === undefined) open[open.length - 1] = keyText(bytes, at, end);
        at = end;
        continue;
      }
      default:
    }
    at++;
  }
  return spell(open);
}

function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== 0x22) at += bytes[at] === 0x5c ? 2 : 1;
  return at + 1;
}

function keyText(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start + 1, Math.min(end - 1, start + 1 + EXCERPT))).toString("utf8");
}

function spell(open: readonly (number | string | undefined)[]): string {
  let path = "";
  for (const step of open) {
    if (typeof step === "number") path += `[${step}]`;
    else if (step !== undefined) path += path === "" ? step : `.${step}`;
  }
  return path;
}
