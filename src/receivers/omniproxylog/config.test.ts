import { describe, expect, it } from "vitest";
import { ConfigErrors } from "../../kernel/errors.ts";
import { omniProxyLogReceiverFactory } from "./factory.ts";

const effective = (section: unknown) => omniProxyLogReceiverFactory.configure(section).effective;

/** "path: message (hint)" of every issue. */
function issues(section: unknown): string[] {
  try {
    omniProxyLogReceiverFactory.configure(section);
  } catch (error) {
    if (error instanceof ConfigErrors) return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("omni_proxy_log configuration", () => {
  it("fills in the defaults", () => {
    expect(effective({ include: ["/var/log/omni/nginx_error.log"] })).toEqual({
      include: ["/var/log/omni/nginx_error.log"],
      exclude: [],
      start_at: "end",
      poll_interval: "100ms",
      format: "auto",
      timezone: "Local",
      fingerprint_size: 1000,
      max_log_size: 1_048_576,
      max_concurrent_files: 1024,
      max_batch_lines: 4096,
      max_batch_bytes: 262_144,
      rotate_wait: "5s",
      retry_on_failure: { enabled: true, initial_interval: "100ms", max_interval: "5s", max_elapsed_time: "0s" },
    });
  });

  it("reads what is written", () => {
    expect(
      effective({
        include: ["/a/*.log"],
        exclude: ["/a/x.log"],
        start_at: "beginning",
        format: "access_log",
        timezone: "Asia/Shanghai",
        max_log_size: "2MiB",
        fingerprint_size: "2kb",
      }),
    ).toMatchObject({
      exclude: ["/a/x.log"],
      start_at: "beginning",
      format: "access_log",
      timezone: "Asia/Shanghai",
      max_log_size: 2_097_152,
      fingerprint_size: 2000,
    });
  });

  it.each([undefined, null, {}, { include: [] }, { include: null }])("asks for include in %j", (section) => {
    expect(issues(section)).toEqual([
      "include: at least one path or pattern is required (include: [/var/log/omni/nginx_error.log])",
    ]);
  });

  it("says all that is wrong at once, each with its path", () => {
    const found = issues({
      include: ["/ok", "/log/[x"],
      start_at: "ende",
      timezone: "Mars/Base",
      fingerprint_size: 3,
      max_log_size: "1 meg",
      poll_interval: "0s",
      inclde: 1,
    });
    const at = (path: string) => found.find((line) => line.startsWith(`${path}:`));
    expect(at("include::1")).toContain("invalid pattern");
    expect(at("start_at")).toContain("did you mean `end`?");
    expect(at("timezone")).toContain("IANA");
    expect(at("fingerprint_size")).toContain("must be at least 16 bytes, got 3");
    expect(at("max_log_size")).toContain("invalid size");
    expect(at("poll_interval")).toContain("at least 1ms");
    expect(at("inclde")).toContain("did you mean `include`?");
    expect(found).toHaveLength(7);
  });
});
