import type { ComponentStatus, Host, ServiceHealth } from "./api.ts";
import { type Built, buildComponents, type Environment, type Instance } from "./build.ts";
import type { Plan } from "./plan.ts";
import { StatusBoard } from "./status.ts";

/** How long a component may still take after the deadline before it is left behind. */
const AFTER_DEADLINE_MS = 250;

/**
 * The running whole: created -> started -> stopped, once. A reload makes a new one.
 * Start: extensions, then exporters, processors and connectors, receivers last. Stop: receivers first, so that
 * everything behind them can be drained, extensions last.
 */
export class Service {
  readonly #built: Built;
  readonly #environment: Environment;
  readonly #status: StatusBoard;
  /** Resolves with the cause when a component reports that the service cannot go on. */
  readonly failure: Promise<Error>;
  #fail: (cause: Error) => void = () => {};
  #stopping: Promise<readonly Error[]> | undefined;

  /** @throws Error when a component cannot be created. */
  constructor(plan: Plan, environment: Environment) {
    this.#environment = environment;
    this.failure = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#status = new StatusBoard((health) => this.#tellWatchers(health));
    this.#built = buildComponents(plan, environment);
  }

  get health(): ServiceHealth {
    return this.#status.health;
  }

  /**
   * Resolves when everything runs.
   * @throws Error `cannot start pipelines: failed to start "otlp" receiver: …`; then nothing runs any more.
   */
  async start(stopTimeoutMs: number): Promise<void> {
    const { logger } = this.#environment;
    try {
      if (this.#built.extensions.length > 0) logger.info("Starting extensions...");
      for (const extension of this.#built.extensions)
        await this.#start(extension, (message) => `failed to start extensions: ${message}`);
      for (const level of [...this.#built.levels].reverse())
        for (const instance of level) await this.#start(instance, (message) => `cannot start pipelines: ${message}`);
    } catch (error) {
      for (const late of await this.shutdown(stopTimeoutMs)) logger.warn(late.message);
      throw error;
    }
    this.#status.setReady(true);
  }

  async #start(instance: Instance, wrap: (message: string) => string): Promise<void> {
    try {
      await instance.component.start(this.#hostFor(instance));
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#status.report(instance.name, { level: "permanent", error: cause });
      throw new Error(wrap(`failed to start ${instance.name}: ${cause.message}`), { cause });
    }
  }

  #hostFor(instance: Instance): Host {
    return {
      extension: (id) => this.#built.extensions.find((extension) => extension.id === id)?.component,
      reportStatus: (status) => this.#report(instance, status),
    };
  }

  #report(instance: Instance, status: ComponentStatus): void {
    this.#status.report(instance.name, status);
    const fields = { component: instance.name, ...(status.error ? { error: status.error } : {}) };
    const { logger } = this.#environment;
    if (status.level === "ok") logger.info("Component works again", fields);
    else if (status.level === "recoverable") logger.warn("Component has a problem and goes on trying", fields);
    else if (status.level === "permanent")
      logger.error("Component is out of order until the configuration or its surroundings change", fields);
    else {
      logger.error("Component failed, the service stops", fields);
      this.#fail(status.error ?? new Error(`${instance.name} failed`));
    }
  }

  #tellWatchers(health: ServiceHealth): void {
    for (const { component } of this.#built.extensions) component.serviceChanged?.(health);
  }

  /**
   * Stops everything; resolves with what went wrong, at the latest a little after `timeoutMs`. Receivers get the first
   * half of the time at most, so that requests which hang leave time to send on what was accepted. Idempotent.
   */
  shutdown(timeoutMs: number): Promise<readonly Error[]> {
    this.#stopping ??= this.#shutdown(timeoutMs);
    return this.#stopping;
  }

  async #shutdown(timeoutMs: number): Promise<readonly Error[]> {
    const { clock } = this.#environment;
    const began = clock.monotonic();
    this.#status.setReady(false);
    const errors: Error[] = [];
    const left = (): number => Math.max(0, timeoutMs - (clock.monotonic() - began));
    for (const level of this.#built.levels) {
      const results = await Promise.all(
        level.map((instance) => this.#stop(instance, instance.kind === "receiver" ? left() / 2 : left())),
      );
      errors.push(...results.flatMap((error) => error ?? []));
    }
    for (const extension of [...this.#built.extensions].reverse()) {
      const error = await this.#stop(extension, left());
      if (error) errors.push(error);
    }
    return errors;
  }

  /** @returns what went wrong. */
  #stop(instance: Instance, timeoutMs: number): Promise<Error | undefined> {
    const { clock } = this.#environment;
    const late = new Error(`${instance.name} did not stop in time; what it still held is lost`);
    const deadline = new AbortController();
    return new Promise((resolve) => {
      let timer = clock.after(timeoutMs, () => {
        deadline.abort(late);
        timer = clock.after(AFTER_DEADLINE_MS, () => resolve(late));
      });
      const done = (error: unknown): void => {
        timer.cancel();
        if (error === undefined || error === late) resolve(error as Error | undefined);
        else {
          const message = error instanceof Error ? error.message : String(error);
          resolve(new Error(`failed to stop ${instance.name}: ${message}`, { cause: error }));
        }
      };
      const stopping = Promise.resolve().then(() => instance.component.shutdown(deadline.signal));
      stopping.then(() => done(undefined), done);
    });
  }
}
