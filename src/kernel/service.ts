import type { ComponentStatus, Host, ServiceHealth, Signal } from "./api.ts";
import { type Built, buildComponents, type Environment, type Instance } from "./build.ts";
import type { Plan } from "./plan.ts";
import { StatusBoard } from "./status.ts";
import type { Switch } from "./switch.ts";

/** How long a component may still take after the deadline before it is left behind. */
const AFTER_DEADLINE_MS = 250;

/** What a reload did, as names for people: `"otlp" exporter`. What is in both was exchanged. */
export interface Changes {
  readonly started: readonly string[];
  readonly stopped: readonly string[];
}

/**
 * The running whole: created -> started -> stopped, once. In between `reload` changes its parts.
 * Start: extensions, then exporters, processors and connectors, receivers last. Stop: receivers first, so that
 * everything behind them can be drained, extensions last.
 */
export class Service {
  #built: Built;
  #plan: Plan;
  /** Started and not stopped, by key. */
  readonly #running = new Map<string, Instance>();
  /** Held back while what is behind them is exchanged. */
  readonly #held = new Set<Switch<Signal>>();
  /** Reloads, one behind the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #environment: Environment;
  readonly #status: StatusBoard;
  /** Resolves with the cause when a component reports that the service cannot go on. */
  readonly failure: Promise<Error>;
  #fail: (cause: Error) => void = () => {};
  #stopping: Promise<readonly Error[]> | undefined;

  /** @throws Error when a component cannot be created. */
  constructor(plan: Plan, environment: Environment) {
    this.#environment = environment;
    this.#plan = plan;
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
      await this.#startAll();
    } catch (error) {
      for (const late of await this.shutdown(stopTimeoutMs)) logger.warn(late.message);
      throw error;
    }
    this.#status.setReady(true);
  }

  /** Starts what does not run yet, what is downstream first. */
  async #startAll(): Promise<void> {
    for (const extension of this.#built.extensions)
      if (!this.#running.has(extension.key))
        await this.#start(extension, (message) => `failed to start extensions: ${message}`);
    for (const level of [...this.#built.levels].reverse())
      for (const instance of level)
        if (!this.#running.has(instance.key))
          await this.#start(instance, (message) => `cannot start pipelines: ${message}`);
  }

  /**
   * Goes over to `plan`. What would come out the same goes on running: its connections stay open and keep what they hold. What
   * a batch needs that is exchanged is waited for, and nothing is refused meanwhile.
   * @throws Error when the plan's parts cannot be created or started; then the service runs as it did before.
   */
  reload(plan: Plan, timeoutMs: number): Promise<Changes> {
    const turn = this.#turn.then(() => this.#reload(plan, timeoutMs));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #reload(plan: Plan, timeoutMs: number): Promise<Changes> {
    if (this.#stopping) throw new Error("the service stops");
    const before = this.#plan;
    const next = buildComponents(plan, this.#environment, this.#running);
    try {
      return await this.#goOver(plan, next, timeoutMs);
    } catch (error) {
      this.#environment.logger.error("The new parts cannot be started; going back to those before", { error });
      try {
        await this.#goOver(before, buildComponents(before, this.#environment, this.#running), timeoutMs);
      } catch (cause) {
        this.#fail(cause as Error);
      }
      throw error;
    }
  }

  async #goOver(plan: Plan, next: Built, timeoutMs: number): Promise<Changes> {
    const stays = new Set([...next.extensions, ...next.levels.flat()]);
    const old = this.#built;
    const leaves = (instance: Instance): boolean => !stays.has(instance);
    const stopped = [...old.extensions, ...old.levels.flat()].filter(leaves);
    const lastLevel = old.levels.findLastIndex((level) => level.some(leaves));
    // Upstream first, and what stays holds back only when nothing upstream of it has anything left to flush through it.
    for (const [index, level] of old.levels.entries()) {
      await this.#stopForReload(level.filter(leaves), timeoutMs);
      if (index >= lastLevel) continue;
      for (const { switches } of level.filter((instance) => !leaves(instance)))
        for (const each of switches.values()) {
          each.hold();
          this.#held.add(each);
        }
    }
    for (const extension of [...old.extensions].reverse())
      if (leaves(extension)) await this.#stopForReload([extension], timeoutMs);
    this.#built = next;
    this.#plan = plan;
    const started = [...stays].filter(({ key }) => !this.#running.has(key)).map(({ name }) => name);
    await this.#startAll();
    next.join();
    this.#releaseHeld();
    // Extensions that are new have not been told yet.
    this.#status.setReady(true);
    return { started, stopped: stopped.map(({ name }) => name) };
  }

  async #stopForReload(instances: readonly Instance[], timeoutMs: number): Promise<void> {
    await Promise.all(
      instances.map(async (instance) => {
        this.#running.delete(instance.key);
        const error = await this.#stop(instance, timeoutMs);
        if (error) this.#environment.logger.error(error.message);
        this.#status.report(instance.name, { level: "ok" });
      }),
    );
  }

  #releaseHeld(): void {
    for (const each of this.#held) each.release();
    this.#held.clear();
  }

  async #start(instance: Instance, wrap: (message: string) => string): Promise<void> {
    try {
      await instance.component.start(this.#hostFor(instance));
      this.#running.set(instance.key, instance);
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
    await this.#turn;
    this.#releaseHeld();
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
