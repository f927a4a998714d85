/**
 * What a service manager is told (sd_notify(3)): ready, stopping, and alive as often as its watchdog wants to hear it. Node has no
 * datagram sockets in the file system, so `systemd-notify` tells it as a child; a unit needs `NotifyAccess=all`.
 */
import { execFile } from "node:child_process";
import type { Clock } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";

/** Longest time that one message may take. */
const TELL_MS = 5_000;
/** Messages in one period of the watchdog: two may be late or lost. */
const ALIVE_A_PERIOD = 3;
/** A shorter period would start children all the time. */
const SHORTEST_ALIVE_MS = 500;

/** The one who started the program, if it wants to hear of it; else every call does nothing. */
export interface Supervisor {
  /** All ports are open. The watchdog's messages begin. */
  ready(): Promise<void>;
  /** The shutdown begins; it is still alive while that takes. */
  stopping(): Promise<void>;
  close(): void;
}

/** Passes one message on. @throws when it was not taken */
export type Tell = (message: string) => Promise<void>;

/** What a supervisor is made with. */
export interface SupervisorOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are systemd's. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: `systemd-notify MESSAGE`. */
  readonly tell?: Tell;
}

/** Failures are logged once and end nothing: whether that is fatal is for the unit to say. */
export function openSupervisor({ env, clock, logger, tell = systemdNotify(env) }: SupervisorOptions): Supervisor {
  if (!env["NOTIFY_SOCKET"]) return { ready: async () => {}, stopping: async () => {}, close: () => {} };
  let isWarned = false;
  let timer: { cancel(): void } | undefined;
  let isClosed = false;
  const send = async (message: string): Promise<void> => {
    try {
      await tell(message);
      isWarned = false;
    } catch (error) {
      if (!isWarned)
        logger.warn(
          "systemd was not told; where systemd-notify is missing the unit needs Type=exec and no WatchdogSec",
          {
            message,
            error,
          },
        );
      isWarned = true;
    }
  };
  const aliveMs = watchdogMs(env);
  const alive = (everyMs: number): void => {
    if (isClosed) return;
    timer = clock.after(everyMs, () => {
      void send("WATCHDOG=1").then(() => alive(everyMs));
    });
  };
  return {
    async ready() {
      await send("READY=1");
      if (aliveMs !== undefined) alive(aliveMs);
    },
    stopping: () => send("STOPPING=1"),
    close() {
      isClosed = true;
      timer?.cancel();
    },
  };
}

/** Milliseconds between two messages; undefined without a watchdog, or when it is another process that it watches. */
function watchdogMs(env: SupervisorOptions["env"]): number | undefined {
  const period = Number(env["WATCHDOG_USEC"]) / 1000;
  if (!(period > 0) || (env["WATCHDOG_PID"] ?? String(process.pid)) !== String(process.pid)) return undefined;
  return Math.max(period / ALIVE_A_PERIOD, SHORTEST_ALIVE_MS);
}

function systemdNotify(env: SupervisorOptions["env"]): Tell {
  return (message) =>
    new Promise((resolve, reject) => {
      const options = { timeout: TELL_MS, killSignal: "SIGKILL", env: { ...env } } as const;
      execFile("systemd-notify", [message], options, (error) => (error ? reject(error) : resolve()));
    });
}
