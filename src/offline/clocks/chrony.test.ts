import { describe, expect, it } from "vitest";
import { parseTracking } from "./chrony.ts";

/** Of chrony 4.3, following another chronyd. */
const TRACKING = `Reference ID    : 7F000001 (127.0.0.1)
Stratum         : 9
Ref time (UTC)  : Sun Nov 22 22:18:41 2026
System time     : 0.000002116 seconds fast of NTP time
Last offset     : -0.000000026 seconds
RMS offset      : 0.000000060 seconds
Frequency       : 0.380 ppm fast
Residual freq   : -0.012 ppm
Skew            : 0.627 ppm
Root delay      : 0.000005983 seconds
Root dispersion : 0.000001524 seconds
Update interval : 0.1 seconds
Leap status     : Normal
`;

function changed(field: string, value: string): string {
  return TRACKING.replace(new RegExp(`^(${field.replace(/[()]/g, "\\$&")} *: ).*$`, "m"), `$1${value}`);
}

describe("parseTracking", () => {
  it("parseTracking gives the system time as offset, and what bounds it", () => {
    expect(parseTracking(TRACKING)).toEqual({ offsetUs: 2, uncertaintyUs: Math.ceil(1.524 + 5.983 / 2 + 0.06) });
  });

  it("parseTracking gives a negative offset when the clock is slow", () => {
    const text = changed("System time", "0.052100000 seconds slow of NTP time");
    expect(parseTracking(text)?.offsetUs).toBe(-52_100);
  });

  it("parseTracking widens the uncertainty by the RMS offset, whatever its sign", () => {
    expect(parseTracking(changed("RMS offset", "0.010000000 seconds"))?.uncertaintyUs).toBe(10_005);
  });

  it.each([
    ["the clock is not synchronised", changed("Leap status", "Not synchronised")],
    ["chronyd follows only itself", changed("Reference ID", "7F7F0101 ()")],
    ["chronyd follows nothing", changed("Reference ID", "00000000 ()")],
    ["a field is missing", TRACKING.replace(/^Root delay.*\n/m, "")],
    ["a field is no number of seconds", changed("Root dispersion", "unknown")],
    ["there is no daemon", "506 Cannot talk to daemon\n"],
    ["there is nothing", ""],
  ])("parseTracking gives nothing when %s", (_, text) => {
    expect(parseTracking(text)).toBeUndefined();
  });
});
