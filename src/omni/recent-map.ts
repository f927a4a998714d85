/**
 * A map of the newest entries: at most `most`, at least the half of them. Two generations instead of a deletion an insertion,
 * because finding the oldest key of a Map walks over everything deleted before it.
 */
export class RecentMap<V> {
  readonly #half: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  constructor(most: number) {
    this.#half = Math.max(1, Math.floor(most / 2));
  }

  /** True before the first `set`. */
  get empty(): boolean {
    return this.#young.size + this.#old.size === 0;
  }

  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** Sets the entry and makes it one of the newest. */
  set(key: string, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
