/** The two ways in which decoding a compressed body fails. */

/** The bytes are not what the encoding says, or end too early. */
export class CorruptError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CorruptError";
  }
}

/** The decoded body would be larger than the limit. */
export class TooLargeError extends Error {
  constructor(limit: number) {
    super(`decoded size exceeds ${limit} bytes`);
    this.name = "TooLargeError";
  }
}
