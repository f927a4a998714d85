/** What the ways of converting share: their options, and what each tells at its end. */
import type { MergeSettings } from "../omni/merge.ts";
import type { EndpointSettings } from "./output/otlp-endpoint.ts";
import type { WrittenFile } from "./output/output.ts";
import type { ReplaySink } from "./replay.ts";
import type { Selection, Selector } from "./select.ts";

export type ConvertFormat = "jaeger" | "otlp-json" | "otlp-proto";

export interface ConvertOptions {
  /** A folder with logs, or one log file. */
  readonly logs: string;
  /** Undefined sends to `endpoint` only. */
  readonly out: string | undefined;
  readonly format: ConvertFormat;
  /** What is not told is as in ENDPOINT_SETTINGS. */
  readonly endpoint: (Pick<EndpointSettings, "url" | "headers"> & Partial<EndpointSettings>) | undefined;
  /** Recorded OTLP to be merged in. */
  readonly otlp: readonly string[];
  readonly selection: Selection;
  /** Requests left out of the statistics at either end. */
  readonly skip: number;
  /** log_to_jaeger.py's layout instead of traces. */
  readonly compat: boolean;
  /** "auto", "Local", an IANA name or an offset such as "+08:00". */
  readonly timezone: string;
  /** Larger Jaeger files are split; 0 never splits. */
  readonly maxFileBytes: number;
  /** Changes to REPLAY_SETTINGS. */
  readonly merge: Partial<MergeSettings>;
}

/** What was written. */
export interface Finished {
  /** Traces written or sent, summaries not counted. */
  readonly traces: number;
  readonly summaries: { readonly traces: number; readonly requests: number; readonly skipped: number };
  readonly files: readonly WrittenFile[];
  readonly endpoint:
    | { readonly url: string; readonly requests: number; readonly retries: number; readonly rejectedSpans: number }
    | undefined;
  /** Ids that were asked for and are in no log. */
  readonly missingIds: readonly string[];
  /** Traces that came in several parts, because a part was read too late; Jaeger's UI shows one of them only. */
  readonly partedTraces: number;
  /** Traces that alone are larger than a file should be. */
  readonly oversizedTraces: number;
}

/** The requests of a replay on their way to where traces are written. */
export interface Converting extends ReplaySink {
  placed(request: Parameters<ReplaySink["request"]>[0]): void;
  finish(): Promise<Finished>;
  abort(): Promise<void>;
}

/** Why nothing was written although requests were read. */
export function nothingSelected(selector: Selector): string {
  return selector.missing.length > 0
    ? `none of the requests that were asked for is in the logs: ${selector.missing.join(", ")}`
    : "no request is left of those in the logs: look at --since, --until and --top";
}
