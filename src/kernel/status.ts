import type { ComponentStatus, ServiceHealth } from "./api.ts";

/** What the components say of themselves, put together. */
export class StatusBoard {
  readonly #statuses = new Map<string, ComponentStatus>();
  readonly #onChange: (health: ServiceHealth) => void;
  #ready = false;

  /** @param onChange called after every change, with the whole. */
  constructor(onChange: (health: ServiceHealth) => void) {
    this.#onChange = onChange;
  }

  /** The pipelines run, from the end of start-up to the beginning of the stop. */
  setReady(ready: boolean): void {
    this.#ready = ready;
    this.#onChange(this.health);
  }

  /** @param component for example `"otlp" exporter`. */
  report(component: string, status: ComponentStatus): void {
    if (status.level === "ok") this.#statuses.delete(component);
    else this.#statuses.set(component, status);
    this.#onChange(this.health);
  }

  get health(): ServiceHealth {
    return {
      ready: this.#ready,
      problems: [...this.#statuses].map(([component, status]) => ({ component, ...status })),
    };
  }
}
