/** Leaves the first and the last few of a sequence out, although what is first and last is only known at its end. */

/** Anything with a start. */
export interface Started {
  readonly startUs: number;
}

/** Takes items in any order and passes on all but the `count` that start first and the `count` that start last. */
export class Middle<T extends Started> {
  readonly #count: number;
  readonly #pass: (item: T) => void;
  /** Both in order of start. */
  readonly #first: T[] = [];
  readonly #last: T[] = [];

  constructor(count: number, pass: (item: T) => void) {
    this.#count = count;
    this.#pass = pass;
  }

  add(item: T): void {
    if (this.#count === 0) {
      this.#pass(item);
      return;
    }
    let later: T | undefined = item;
    const latestFirst = this.#first.at(-1);
    if (this.#first.length < this.#count || item.startUs < (latestFirst as T).startUs) {
      insert(this.#first, item);
      later = this.#first.length > this.#count ? this.#first.pop() : undefined;
    }
    if (later === undefined) return;
    insert(this.#last, later);
    if (this.#last.length > this.#count) this.#pass(this.#last.shift() as T);
  }

  /** How many were left out so far. */
  get skipped(): number {
    return this.#first.length + this.#last.length;
  }
}

function insert<T extends Started>(sorted: T[], item: T): void {
  let at = sorted.length;
  while (at > 0 && (sorted[at - 1] as T).startUs > item.startUs) at--;
  sorted.splice(at, 0, item);
}
