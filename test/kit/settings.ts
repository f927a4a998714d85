import type { Component, ComponentStatus, Host, Settings } from "../../src/kernel/api.ts";
import { parseId } from "../../src/kernel/id.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { silentLogger } from "../../src/telemetry/logger.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

/** Settings for a component under test: silent logger, own metrics, system clock unless given. */
export function testSettings(id: string, over: Partial<Settings> = {}): Settings {
  const parsed = parseId(id);
  if (typeof parsed === "string") throw new Error(parsed);
  return {
    id: parsed,
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    build: { command: "omnishim", description: "test", version: "0.0.0" },
    ...over,
  };
}

/** A host with these extensions; statuses are recorded. */
export class TestHost implements Host {
  readonly statuses: ComponentStatus[] = [];
  readonly #extensions: Readonly<Record<string, Component>>;

  constructor(extensions: Readonly<Record<string, Component>> = {}) {
    this.#extensions = extensions;
  }

  extension(id: string): Component | undefined {
    return this.#extensions[id];
  }

  reportStatus(status: ComponentStatus): void {
    this.statuses.push(status);
  }
}
