/** A bound on bytes that requests in progress may hold together. */

/** Counts bytes that are held. Nothing waits for it: who does not get bytes refuses its caller, who tries again later. */
export class Budget {
  /** Most bytes held at once. */
  readonly limit: number;
  #held = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes held now. */
  get held(): number {
    return this.#held;
  }

  /** Takes `bytes`, or takes nothing and returns false. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.limit) return false;
    this.#held += bytes;
    return true;
  }

  /** Takes `bytes` that exist already, beyond the limit if need be; who comes next finds less. */
  overdraw(bytes: number): void {
    this.#held += bytes;
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#held -= bytes;
  }
}
