import { formatDuration } from "../config/schema.ts";
import { ConsumeError } from "../kernel/errors.ts";
import type { Clock } from "../telemetry/clock.ts";
import { linkAbort, orAborted, type Sender } from "./sender.ts";

/** google.rpc.Code DEADLINE_EXCEEDED. */
const DEADLINE_EXCEEDED = 4;

/**
 * Bounds every single attempt (exporterhelper's timeout sender). A sender that does not react to its signal is left
 * behind: the attempt is over for everybody else.
 * @param timeoutMs 0 means no limit.
 */
export function withTimeout(next: Sender, timeoutMs: number, clock: Clock): Sender {
  if (timeoutMs === 0) return next;
  return async (batch, signal) => {
    const attempt = linkAbort(signal);
    const timer = clock.after(timeoutMs, () =>
      attempt.abort(
        new ConsumeError("retryable", `no answer within ${formatDuration(timeoutMs)} (setting: timeout)`, {
          grpcCode: DEADLINE_EXCEEDED,
        }),
      ),
    );
    try {
      await orAborted(next(batch, attempt.signal), attempt.signal);
    } finally {
      timer.cancel();
      attempt.release();
    }
  };
}
