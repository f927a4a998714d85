/** Read buffers, and with them the bound on batches that are on their way at the same time. */

/** A fixed number of buffers, made when first needed and given out in the order of asking. */
export class Slots {
  readonly #bytes: number;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #unmade: number;

  constructor(count: number, bytes: number) {
    this.#unmade = count;
    this.#bytes = bytes;
  }

  /** A buffer that is the caller's until `give`. @throws the reason of `signal` when it aborts first */
  async take(signal: AbortSignal): Promise<Buffer> {
    signal.throwIfAborted();
    const free = this.#free.pop();
    if (free) return free;
    if (this.#unmade > 0) {
      this.#unmade--;
      return Buffer.allocUnsafeSlow(this.#bytes);
    }
    return new Promise<Buffer>((resolve, reject) => {
      const turn = (buffer: Buffer): void => {
        signal.removeEventListener("abort", leave);
        resolve(buffer);
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(turn);
    });
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next) next(buffer);
    else this.#free.push(buffer);
  }
}
