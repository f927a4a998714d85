/** Many writers, one write: what comes while a write is under way goes into the next one. */

interface Waiting<J> {
  readonly job: J;
  settle(error: unknown, isFailed: boolean): void;
}

/** How much goes into one write. */
export interface GroupLimits<J> {
  readonly bytes: number;
  readonly jobs: number;
  sizeOf(job: J): number;
}

/**
 * Runs `commit` with groups of jobs in order, one group at a time. Between groups, and whenever `stir` was called, it
 * runs `tidy`, which must not fail.
 */
export class GroupCommit<J> {
  readonly #limits: GroupLimits<J>;
  readonly #commit: (jobs: readonly J[]) => Promise<void>;
  readonly #tidy: () => Promise<void>;
  #waiting: Waiting<J>[] = [];
  #isStirred = false;
  #running: Promise<void> | undefined;

  constructor(limits: GroupLimits<J>, commit: (jobs: readonly J[]) => Promise<void>, tidy: () => Promise<void>) {
    this.#limits = limits;
    this.#commit = commit;
    this.#tidy = tidy;
  }

  /** Settles as the `commit` that had the job. */
  submit(job: J): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, settle: (error, isFailed) => (isFailed ? reject(error) : resolve()) });
      this.#start();
    });
  }

  /** Has `tidy` run soon. */
  stir(): void {
    this.#isStirred = true;
    this.#start();
  }

  /** Resolves when all that was submitted so far is settled and nothing is to be tidied. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // In the next turn: what else is submitted in this one comes along.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0 || this.#isStirred) {
      const group = this.#takeGroup();
      if (group.length > 0) {
        let failure: unknown;
        let isFailed = false;
        try {
          await this.#commit(group.map((waiting) => waiting.job));
        } catch (error) {
          failure = error;
          isFailed = true;
        }
        for (const waiting of group) waiting.settle(failure, isFailed);
      }
      this.#isStirred = false;
      await this.#tidy();
    }
    // Here and not when the promise settles: what is submitted in between must start a new run.
    this.#running = undefined;
  }

  #takeGroup(): Waiting<J>[] {
    let bytes = 0;
    let count = 0;
    for (const { job } of this.#waiting) {
      bytes += this.#limits.sizeOf(job);
      if (count > 0 && (bytes > this.#limits.bytes || count >= this.#limits.jobs)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
