import { describe, expect, it } from "vitest";
import { parseByteSize } from "./schema.ts";

describe("parseByteSize", () => {
  it.each([
    ["300", 300],
    ["1kb", 1000],
    ["1KiB", 1024],
    ["1.5 MB", 1_500_000],
    ["2mib", 2_097_152],
    ["1GiB", 1_073_741_824],
  ])("reads %s as %d", (text, bytes) => {
    expect(parseByteSize(text)).toBe(bytes);
  });

  it.each(["", "b", "1k", "-1", "1 meg", "1e3", "KiB"])("refuses %j", (text) => {
    expect(parseByteSize(text)).toBeUndefined();
  });
});
