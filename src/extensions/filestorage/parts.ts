import type { Clock } from "../../telemetry/clock.ts";
import type { Budget } from "./budget.ts";
import type { StorageTelemetry } from "./telemetry.ts";

/** What all files of one storage share. */
export interface StorageParts {
  readonly budget: Budget;
  readonly telemetry: StorageTelemetry;
  readonly clock: Clock;
  /** `fsync` */
  readonly fsync: boolean;
  /** A segment that has grown to this is followed by the next. A larger record has a segment of its own. */
  readonly segmentBytes: number;
  /** One a log: has it give back what it only keeps to be written on. All are called when there is no room for a record. */
  readonly savers: Set<() => void>;
}
