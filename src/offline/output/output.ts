import type { OfflineTrace } from "../trace.ts";

/** A file that was written. */
export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
  readonly traces: number;
}

/** Where traces go. `write` never waits; whoever writes awaits `ready` now and then. */
export interface TraceOutput {
  write(trace: OfflineTrace): void;
  /** Undefined while there is room. @throws Problem (rejects) when nothing can be written or sent */
  ready(): Promise<void> | undefined;
  /** Puts `first` in front of everything, ends the output and says which files there are. @throws Problem (rejects) */
  finish(first: readonly OfflineTrace[]): Promise<readonly WrittenFile[]>;
  /** Ends it without leaving files behind. */
  abort(): Promise<void>;
}
