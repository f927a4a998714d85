/** Parts of JSON strings, as bytes. */

/** Values of hex digits by character, 255 for other characters. */
export const HEX = new Uint8Array(256).fill(255);
for (let i = 0; i < 16; i++) {
  const digit = i.toString(16);
  HEX[digit.charCodeAt(0)] = i;
  HEX[digit.toUpperCase().charCodeAt(0)] = i;
}

/** What the letter behind a backslash stands for, by character; 0 for other letters, `u` among them. */
export const ESCAPES = new Uint8Array(128);
for (const [letter, byte] of Object.entries({ '"': 0x22, "\\": 0x5c, "/": 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }))
  ESCAPES[letter.charCodeAt(0)] = byte;

/** Writes a code point as UTF-8 at `at`; where it ends. */
export function writeUtf8(out: Uint8Array, at: number, code: number): number {
  let end = at;
  if (code < 0x80) out[end++] = code;
  else if (code < 0x800) {
    out[end++] = 0xc0 | (code >> 6);
    out[end++] = 0x80 | (code & 63);
  } else if (code < 0x10000) {
    out[end++] = 0xe0 | (code >> 12);
    out[end++] = 0x80 | ((code >> 6) & 63);
    out[end++] = 0x80 | (code & 63);
  } else {
    out[end++] = 0xf0 | (code >> 18);
    out[end++] = 0x80 | ((code >> 12) & 63);
    out[end++] = 0x80 | ((code >> 6) & 63);
    out[end++] = 0x80 | (code & 63);
  }
  return end;
}
