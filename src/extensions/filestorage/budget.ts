/** Of what the disk could hold, this part is left for what must be written whatever there is. */
const DISK_RESERVE = 1 / 16;

/** What all clients of one directory together may keep on the disk: `max_size_mib`, and no more than fits there. */
export class Budget {
  /** `max_size_mib`, in bytes. */
  readonly limit: number;
  #disk = Number.POSITIVE_INFINITY;
  #used = 0;

  /** @param limit in bytes */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** What may be used now, in bytes. */
  get capacity(): number {
    return Math.min(this.limit, this.#disk);
  }

  /** Tells how many bytes the file system has left besides what is used. */
  measured(free: number): void {
    this.#disk = Math.floor((this.#used + free) * (1 - DISK_RESERVE));
  }

  get used(): number {
    return this.#used;
  }

  /** False when it does not fit; then nothing is taken. */
  tryTake(bytes: number): boolean {
    if (this.#used + bytes > this.capacity) return false;
    this.#used += bytes;
    return true;
  }

  /** For what is there already, or must be written whatever there is. May go beyond the limit. */
  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}
