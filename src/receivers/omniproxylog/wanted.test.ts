import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { FaultyFiles, fileError, LogFolder } from "../../../test/kit/log-tail.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import type { ComponentStatus } from "../../kernel/api.ts";
import { escapeGlob, type Glob, parseGlob } from "./glob.ts";
import { Telemetry } from "./telemetry.ts";
import { WantedPaths } from "./wanted.ts";

describe("WantedPaths", () => {
  let folder: LogFolder;
  beforeEach(() => {
    folder = new LogFolder();
  });
  afterEach(() => folder.remove());

  function wantedLogs() {
    const clock = new FakeClock();
    const files = new FaultyFiles();
    const statuses: ComponentStatus[] = [];
    const telemetry = new Telemetry(testSettings("omni_proxy_log", { clock }));
    telemetry.reportTo((status) => statuses.push(status));
    const globs = parseGlob(`${escapeGlob(folder.path)}/*.log`, "/") as readonly Glob[];
    return { clock, files, statuses, wanted: new WantedPaths(globs, [], files, telemetry, clock) };
  }

  it("keeps since when each path is wanted and drops what is gone", async () => {
    const { clock, wanted } = wantedLogs();
    await folder.write("a.log", "");
    await wanted.refresh();
    await clock.advance(1000);
    await folder.write("b.log", "");
    await wanted.refresh();
    expect([...wanted.since]).toEqual([
      [folder.at("a.log"), 0],
      [folder.at("b.log"), 1000],
    ]);
    await folder.delete("a.log");
    await wanted.refresh();
    expect([...wanted.since.keys()]).toEqual([folder.at("b.log")]);
  });

  it("scans no sooner than twenty times as long after a scan as that took", async () => {
    const { clock, files, wanted } = wantedLogs();
    let scans = 0;
    files.before = async () => {
      scans++;
      await clock.advance(50);
    };
    await wanted.refresh();
    await clock.advance(999);
    await wanted.refresh();
    expect(scans).toBe(1);
    await clock.advance(1);
    await wanted.refresh();
    expect(scans).toBe(2);
  });

  it("reports a folder that cannot be listed, and when it can be again", async () => {
    const { files, statuses, wanted } = wantedLogs();
    files.fault = () => {
      throw fileError("EACCES");
    };
    await wanted.refresh();
    files.fault = undefined;
    await wanted.refresh();
    expect(statuses.map(({ level }) => level)).toEqual(["recoverable", "ok"]);
  });
});
