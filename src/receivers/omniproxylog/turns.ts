/** Which paths a round looks at. Pure. */

/** A file that changed within this time is looked at in every round. */
const ACTIVE_MS = 60_000;
/** How many of the others a round looks at: a thousand idle files cost no more than these. */
const IDLE_LOOKS = 64;

/** Gives new and active paths every round, idle ones in turn. */
export class Turns {
  #next = 0;

  /** @param changedAt when a path last changed, or was first wanted; Infinity for "look at it now". Monotonic milliseconds. */
  pick(paths: Iterable<string>, changedAt: (path: string) => number, nowMs: number): string[] {
    const active: string[] = [];
    const idle: string[] = [];
    for (const path of paths) (nowMs - changedAt(path) <= ACTIVE_MS ? active : idle).push(path);
    if (idle.length <= IDLE_LOOKS) return [...active, ...idle];
    const from = this.#next % idle.length;
    this.#next = from + IDLE_LOOKS;
    return [...active, ...[...idle, ...idle].slice(from, from + IDLE_LOOKS)];
  }
}
