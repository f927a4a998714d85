import { mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import { createLogger } from "../../telemetry/logger.ts";
import type { BearerTokenAuth } from "./bearer-token-auth.ts";
import { bearerTokenAuthExtensionFactory } from "./factory.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0)) await act();
});

const clock = new FakeClock();

async function auth(section: object, lines: string[] = []): Promise<BearerTokenAuth> {
  const logger = createLogger({ level: "info", encoding: "json", write: (line) => lines.push(line) });
  const settings = testSettings("bearertokenauth", { clock, logger });
  const made = bearerTokenAuthExtensionFactory.configure(section).create(settings) as BearerTokenAuth;
  await made.start();
  return made;
}

const outcome = (of: BearerTokenAuth, headers: Record<string, string>): Promise<string> =>
  of
    .authenticate((name) => headers[name])
    .then(
      () => "in",
      (error: Error) => error.message,
    );

async function tokenFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bearer-"));
  undo.push(() => rm(folder, { recursive: true }));
  const file = join(folder, "token");
  await writeFile(file, text);
  return file;
}

const WRONG = "provided authorization does not match expected scheme or token";

describe("BearerTokenAuth", () => {
  it("lets in who carries the token, and nobody else", async () => {
    const one = await auth({ token: "s3cret" });
    expect(await outcome(one, { authorization: "Bearer s3cret" })).toBe("in");
    expect(await outcome(one, {})).toBe("missing or empty authorization header: Authorization");
    expect(await outcome(one, { authorization: "" })).toBe("missing or empty authorization header: Authorization");
    for (const value of ["Bearer s3cre", "Bearer s3cret ", "bearer s3cret", "Basic s3cret", "s3cret", "Bearer "])
      expect(await outcome(one, { authorization: value }), value).toBe(WRONG);
  });

  it("takes any of tokens and shows the first", async () => {
    const many = await auth({ tokens: ["a", "b"], header: "X-Key", scheme: "" });
    expect(await outcome(many, { "x-key": "b" })).toBe("in");
    expect(await outcome(many, { authorization: "a" })).toBe("missing or empty authorization header: X-Key");
    expect(await many.requestHeaders()).toEqual({ "x-key": "a" });
  });

  it("reads its file again: a new token is good at once, an old one bad within a second", async () => {
    const lines: string[] = [];
    const filename = await tokenFile("old\n\n  next \n");
    const from = await auth({ filename, token: "ignored" }, lines);
    expect(lines.join("")).toContain("Configured token(s) is ignored");
    expect(await outcome(from, { authorization: "Bearer next" })).toBe("in");
    expect(await outcome(from, { authorization: "Bearer ignored" })).toBe(WRONG);
    await writeFile(filename, "new");
    expect(await outcome(from, { authorization: "Bearer old" })).toBe("in");
    expect(await outcome(from, { authorization: "Bearer new" })).toBe("in");
    expect(await outcome(from, { authorization: "Bearer old" })).toBe(WRONG);
    await writeFile(filename, "newer");
    await clock.advance(1000);
    expect(await outcome(from, { authorization: "Bearer new" })).toBe(WRONG);
    expect(await from.requestHeaders()).toEqual({ authorization: "Bearer newer" });
  });

  it("goes on with the last tokens when the file is gone or empty, and says so once without the token", async () => {
    const lines: string[] = [];
    const filename = await tokenFile("tok3n");
    const from = await auth({ filename }, lines);
    await writeFile(filename, "\n");
    for (let turn = 0; turn < 3; turn++) {
      await clock.advance(1000);
      expect(await outcome(from, { authorization: "Bearer tok3n" })).toBe("in");
    }
    await unlink(filename);
    await clock.advance(1000);
    expect(await outcome(from, { authorization: "Bearer tok3n" })).toBe("in");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("no token in the file");
    expect(lines[1]).toContain("ENOENT");
    expect(lines.join("")).not.toContain("tok3n");
  });

  it("does not start without its file", async () => {
    await expect(auth({ filename: "/nowhere/token" })).rejects.toThrow("ENOENT");
    await expect(auth({ filename: await tokenFile("a\u0007b") })).rejects.toThrow("token 1 has characters");
  });

  it("hides its tokens when the configuration is printed", () => {
    const { effective } = bearerTokenAuthExtensionFactory.configure({ tokens: ["s3cret"] });
    expect(effective).toEqual({ header: "Authorization", scheme: "Bearer", tokens: ["[REDACTED]"], filename: "" });
    expect(JSON.stringify(bearerTokenAuthExtensionFactory.configure({ token: "s3cret" }).effective)).not.toContain(
      "s3c",
    );
  });

  it.each([
    [{}, "no bearer token provided"],
    [{ token: "a", tokens: ["b"] }, "tokens: either tokens or token should be provided, not both"],
    [{ tokens: ["a", ""] }, "tokens::1: the token is empty"],
    [{ token: "s3cret\n" }, "token: the token has characters that a header cannot hold"],
    [{ token: "a", header: "a b" }, 'header: invalid header name "a b"'],
    [{ tokn: "a" }, "did you mean `token`?"],
  ])("refuses %j without showing the token", (section, message) => {
    expect(() => bearerTokenAuthExtensionFactory.configure(section)).toThrow(message);
    expect(() => bearerTokenAuthExtensionFactory.configure(section)).not.toThrow("s3cret");
  });
});
