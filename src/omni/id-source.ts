/** Ids of traces and spans, as text or where their bytes stand: most are only copied, and a text would be made to be read again. */

/** An id's bytes within others. */
export interface IdBytes {
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** An id as lower-case hex or as bytes. */
export type IdSource = string | IdBytes;

function nibble(c: number): number {
  return c < 58 ? c - 48 : c - 87;
}

/** Writes an id of `size` bytes to `out[at]`; the caller vouches for the id's size and for the room. */
export function writeId(out: Uint8Array, at: number, id: IdSource, size: number): void {
  if (typeof id === "string")
    for (let i = 0; i < size; i++) out[at + i] = (nibble(id.charCodeAt(i * 2)) << 4) | nibble(id.charCodeAt(i * 2 + 1));
  else for (let i = 0; i < size; i++) out[at + i] = id.bytes[id.at + i] as number;
}

/** True when the `size` bytes at `bytes[at]` are this id. */
export function isId(bytes: Uint8Array, at: number, id: IdSource, size: number): boolean {
  if (typeof id === "string") {
    for (let i = 0; i < size; i++)
      if (bytes[at + i] !== ((nibble(id.charCodeAt(i * 2)) << 4) | nibble(id.charCodeAt(i * 2 + 1)))) return false;
    return true;
  }
  for (let i = 0; i < size; i++) if (bytes[at + i] !== id.bytes[id.at + i]) return false;
  return true;
}

/** The id as lower-case hex. */
export function hexOf(id: IdSource, size: number): string {
  if (typeof id === "string") return id;
  return Buffer.from(id.bytes.buffer, id.bytes.byteOffset + id.at, size).toString("hex");
}
