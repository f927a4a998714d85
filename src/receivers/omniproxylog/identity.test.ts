import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { compressionOf, fileKey, isContinued } from "./identity.ts";

describe("isContinued", () => {
  const followed = { offset: 100, head: Buffer.from("2026/11/22 04:30:43 [notice]") };

  it("is true when the file grew", () => {
    expect(isContinued(followed, 100, followed.head)).toBe(true);
    expect(isContinued(followed, 5000, Buffer.concat([followed.head, Buffer.from(" more")]))).toBe(true);
  });

  it("is false when the file is shorter than what was read", () => {
    expect(isContinued(followed, 99, followed.head)).toBe(false);
  });

  it("is false when it begins otherwise, whatever its size", () => {
    expect(isContinued(followed, 100, Buffer.from("2026/11/23 04:30:43 [notice]"))).toBe(false);
    expect(isContinued(followed, 100, followed.head.subarray(0, 5))).toBe(false);
  });

  it("is true for anything when nothing was known", () => {
    expect(isContinued({ offset: 0, head: Buffer.alloc(0) }, 0, Buffer.alloc(0))).toBe(true);
  });
});

describe("fileKey", () => {
  it("keeps inodes apart that a double cannot hold", () => {
    const inode = 2n ** 53n;
    expect(fileKey({ device: 1n, inode })).not.toBe(fileKey({ device: 1n, inode: inode + 1n }));
  });
});

describe("compressionOf", () => {
  it("knows archives of logrotate from log lines", () => {
    expect(compressionOf(gzipSync("lines\n"))).toBe("gzip");
    expect(compressionOf(Buffer.from("28b52ffd00", "hex"))).toBe("zstd");
    expect(compressionOf(Buffer.from("2026/11/22 04:30:43"))).toBeUndefined();
    expect(compressionOf(Buffer.alloc(0))).toBeUndefined();
  });
});
