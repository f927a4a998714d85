/** The two errors that cross module borders: a refused batch, and a bad configuration. */

/**
 * Why a batch was refused. `retryable`: the sender should send it again (outage, full queue); `permanent`: it never
 * will be accepted. Each receiver maps it to a gRPC code or an HTTP status in one table (receivers/otlp).
 */
export class ConsumeError extends Error {
  readonly disposition: "retryable" | "permanent";
  /** How long the sender should wait at least, in milliseconds; becomes RetryInfo and Retry-After. */
  readonly retryAfterMs: number | undefined;
  /** The gRPC code that the downstream gave, when one did (google.rpc.Code); passed on to the sender. */
  readonly grpcCode: number | undefined;

  constructor(
    disposition: "retryable" | "permanent",
    message: string,
    options: { retryAfterMs?: number | undefined; grpcCode?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ConsumeError";
    this.disposition = disposition;
    this.retryAfterMs = options.retryAfterMs;
    this.grpcCode = options.grpcCode;
  }

  /** The one way in from a `catch`: anything that is not a ConsumeError is a retryable one (the Collector's rule: an error is retryable unless marked permanent). */
  static from(error: unknown): ConsumeError {
    if (error instanceof ConsumeError) return error;
    return new ConsumeError("retryable", error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** One thing that is wrong in the configuration. */
export interface ConfigIssue {
  /** Key path from where the thrower stands: ["protocols", "grpc", "endpoint"]; the loader puts its own path in front. */
  readonly path: readonly string[];
  /** What was found and what was wanted. */
  readonly message: string;
  /** What to do: "did you mean `endpoint`?" */
  readonly hint?: string;
  /** True: `path` names a key that should not be there, so point at the key, not at its value. */
  readonly atKey?: boolean;
}

/** All that is wrong at once. `issues` is never empty. */
export class ConfigErrors extends Error {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[]) {
    super(
      issues
        .map((issue) => `${issue.path.join("::")}: ${issue.message}${issue.hint ? ` (${issue.hint})` : ""}`)
        .join("\n"),
    );
    this.name = "ConfigErrors";
    this.issues = issues;
  }

  /** The same issues seen from `prefix.length` levels further up. */
  under(...prefix: readonly string[]): ConfigErrors {
    return new ConfigErrors(this.issues.map((issue) => ({ ...issue, path: [...prefix, ...issue.path] })));
  }
}
