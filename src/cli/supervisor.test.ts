import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../../test/kit/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import { openSupervisor, type SupervisorOptions, type Tell } from "./supervisor.ts";

const SOCKET = { NOTIFY_SOCKET: "/run/systemd/notify" };

function open(env: SupervisorOptions["env"], tell?: Tell) {
  const clock = new FakeClock();
  const lines: string[] = [];
  const logger = createLogger({ level: "info", encoding: "json", write: (line) => lines.push(line) });
  const supervisor = openSupervisor({ env, clock, logger, ...(tell === undefined ? {} : { tell }) });
  return { supervisor, clock, lines };
}

/** What was told, by a teller that takes everything. */
function recorder(): { told: string[]; tell: Tell } {
  const told: string[] = [];
  return { told, tell: async (message) => void told.push(message) };
}

describe("openSupervisor", () => {
  it("openSupervisor tells nobody when NOTIFY_SOCKET is not set", async () => {
    const { told, tell } = recorder();
    const { supervisor, clock } = open({ WATCHDOG_USEC: "60000000" }, tell);
    await supervisor.ready();
    await supervisor.stopping();
    expect({ told, timers: clock.pending }).toEqual({ told: [], timers: 0 });
  });

  it("openSupervisor says that it is alive three times a period, also while it stops, until it is closed", async () => {
    const { told, tell } = recorder();
    const { supervisor, clock } = open({ ...SOCKET, WATCHDOG_USEC: "60000000" }, tell);
    expect(clock.pending).toBe(0);
    await supervisor.ready();
    for (let turn = 0; turn < 3; turn++) {
      await clock.advance(20_000);
    }
    await supervisor.stopping();
    await clock.advance(20_000);
    supervisor.close();
    await clock.advance(200_000);
    const alive = "WATCHDOG=1";
    expect(told).toEqual(["READY=1", alive, alive, alive, "STOPPING=1", alive]);
    expect(clock.pending).toBe(0);
  });

  it.each([
    ["no watchdog is set", {}],
    ["the watchdog is another process's", { WATCHDOG_USEC: "60000000", WATCHDOG_PID: "1" }],
    ["the watchdog's period is no number", { WATCHDOG_USEC: "soon" }],
  ])("openSupervisor has no timer when %s", async (_, env) => {
    const { told, tell } = recorder();
    const { supervisor, clock } = open({ ...SOCKET, ...env }, tell);
    await supervisor.ready();
    expect({ told, timers: clock.pending }).toEqual({ told: ["READY=1"], timers: 0 });
  });

  it("openSupervisor warns once and goes on when nobody can be told, and again after it could", async () => {
    let fails = true;
    const told: string[] = [];
    const { supervisor, clock, lines } = open({ ...SOCKET, WATCHDOG_USEC: "3000000" }, async (message) => {
      if (fails) throw new Error("ENOENT");
      told.push(message);
    });
    const turn = async (): Promise<void> => {
      await clock.advance(1_000);
    };
    await supervisor.ready();
    await turn();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("Type=exec");
    fails = false;
    await turn();
    fails = true;
    await turn();
    expect(told).toEqual(["WATCHDOG=1"]);
    expect(lines).toHaveLength(2);
    supervisor.close();
  });

  it("openSupervisor runs systemd-notify from PATH with the message and the environment", async () => {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-notify-"));
    try {
      const script = `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >>"${folder}/told"\n`;
      writeFileSync(join(folder, "systemd-notify"), script, { mode: 0o755 });
      const PATH = `${folder}${delimiter}${process.env["PATH"]}`;
      const { supervisor, lines } = open({ ...SOCKET, PATH });
      await supervisor.ready();
      await supervisor.stopping();
      expect(readFileSync(join(folder, "told"), "utf8")).toBe(
        "/run/systemd/notify READY=1\n/run/systemd/notify STOPPING=1\n",
      );
      expect(lines).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
