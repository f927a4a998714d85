import { decodeSection } from "../../config/schema.ts";
import type { Component, Consumer, ProcessorFactory, Settings, Signal } from "../../kernel/api.ts";
import { memoryLimiterSchema } from "./config.ts";
import { Limiter } from "./limiter.ts";
import { type Memory, processMemory } from "./memory.ts";
import { MemoryLimiterProcessor } from "./memory-limiter.ts";
import { observeLimiter } from "./telemetry.ts";

/** `memory_limiter` that looks at this memory. */
export function memoryLimiterFactory(memory: () => Memory): ProcessorFactory {
  return {
    kind: "processor",
    type: "memory_limiter",
    stability: "beta",
    signals: ["traces", "metrics", "logs"],
    configure(section) {
      const { config, effective } = decodeSection(memoryLimiterSchema, section);
      // There is one memory: all pipelines that name this processor share what looks at it.
      let shared: Limiter | undefined;
      const limiterOf = (settings: Settings): Limiter => {
        if (!shared) {
          shared = new Limiter(config, { clock: settings.clock, logger: settings.logger, memory: memory() });
          observeLimiter(settings, shared);
        }
        return shared;
      };
      return {
        effective,
        create: (settings) => {
          const made = <S extends Signal>(signal: S, next: Consumer<S>): Component & Consumer<S> =>
            new MemoryLimiterProcessor(limiterOf(settings), settings, signal, config.check_interval, next);
          return {
            traces: (next) => made("traces", next),
            metrics: (next) => made("metrics", next),
            logs: (next) => made("logs", next),
          };
        },
      };
    },
  };
}

/** `memory_limiter`: refuses data before this process is out of memory. */
export const memoryLimiterProcessorFactory: ProcessorFactory = memoryLimiterFactory(processMemory);
