import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import type { BasicAuthClient } from "./basic-auth-client.ts";
import type { BasicAuthServer } from "./basic-auth-server.ts";
import { basicAuthExtensionFactory } from "./factory.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of undo.splice(0)) await act();
});

const clock = new FakeClock();

async function made<T extends BasicAuthServer | BasicAuthClient>(section: object): Promise<T> {
  const extension = basicAuthExtensionFactory.configure(section).create(testSettings("basicauth", { clock })) as T;
  await extension.start();
  return extension;
}

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

const outcome = (of: BasicAuthServer, value: string | undefined): Promise<string> =>
  of
    .authenticate((name) => (name === "authorization" ? value : undefined))
    .then(
      () => "in",
      (error: Error) => error.message,
    );

async function fileOf(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "basic-"));
  undo.push(() => rm(folder, { recursive: true }));
  const file = join(folder, "file");
  await writeFile(file, text);
  return file;
}

/** The bcrypt hash is libxcrypt's (crypt(3)), under the prefix that Apache's htpasswd writes. */
const USERS = `# users
bcrypt:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy
plain:open sesame
colon:a:b
`;

describe("BasicAuthServer", () => {
  it.each(["bcrypt", "plain"])("takes the right password of a %s line, and no other", async (user) => {
    const server = await made<BasicAuthServer>({ htpasswd: { inline: USERS } });
    for (let turn = 0; turn < 2; turn++) {
      expect(await outcome(server, basic(`${user}:open sesame`))).toBe("in");
      expect(await outcome(server, basic(`${user}:Open sesame`))).toBe("invalid credentials");
      expect(await outcome(server, basic(`${user}:`))).toBe("invalid credentials");
    }
  });

  it("takes SHA-1, salted or not", async () => {
    const server = await made<BasicAuthServer>({
      htpasswd: { inline: "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nb:{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0" },
    });
    expect(await outcome(server, basic("a:password"))).toBe("in");
    expect(await outcome(server, basic("a:passwort"))).toBe("invalid credentials");
    expect(await outcome(server, basic("b:password"))).toBe("in");
    expect(await outcome(server, basic("b:passwort"))).toBe("invalid credentials");
  });

  it("says what is wrong in the Collector's words, and takes a password with a colon", async () => {
    const server = await made<BasicAuthServer>({ htpasswd: { inline: USERS } });
    expect(await outcome(server, undefined)).toBe("no basic auth provided");
    expect(await outcome(server, "Bearer x")).toBe("invalid authorization scheme prefix");
    expect(await outcome(server, "Basic %%%")).toBe("invalid authorization format");
    expect(await outcome(server, basic("nocolon"))).toBe("invalid authorization format");
    expect(await outcome(server, basic("nobody:open sesame"))).toBe("invalid credentials");
    expect(await outcome(server, basic("colon:a:b"))).toBe("in");
  });

  it("reads its file again, and inline wins over it", async () => {
    const file = await fileOf("a:one\nb:one");
    const server = await made<BasicAuthServer>({ htpasswd: { file, inline: "b:two" } });
    expect(await outcome(server, basic("a:one"))).toBe("in");
    expect(await outcome(server, basic("b:one"))).toBe("invalid credentials");
    expect(await outcome(server, basic("b:two"))).toBe("in");
    await writeFile(file, "a:new");
    expect(await outcome(server, basic("a:new"))).toBe("in");
    expect(await outcome(server, basic("a:one"))).toBe("invalid credentials");
  });

  it("asks senders to come again when too many slow checks wait, and does not check a known password twice", async () => {
    const server = await made<BasicAuthServer>({ htpasswd: { inline: `a:${hashSync("right", 8)}` } });
    expect(await outcome(server, basic("a:right"))).toBe("in");
    const flood = Array.from({ length: 40 }, (_, at) => outcome(server, basic(`a:wrong${at}`)));
    expect(await outcome(server, basic("a:right"))).toBe("in");
    const said = await Promise.all(flood);
    expect(said.filter((each) => each === "invalid credentials")).toHaveLength(16);
    expect(said.filter((each) => each.startsWith("too many passwords"))).toHaveLength(24);
  });
});

describe("BasicAuthClient", () => {
  it("shows user and password, from files where they are named", async () => {
    const one = await made<BasicAuthClient>({ client_auth: { username: "ü", password: "p:w" } });
    expect(await one.requestHeaders()).toEqual({ authorization: basic("ü:p:w") });
    const password_file = await fileOf("first\n");
    const section = {
      client_auth: { username: "a", username_file: await fileOf(" b\n"), password: "x", password_file },
    };
    const two = await made<BasicAuthClient>(section);
    expect(await two.requestHeaders()).toEqual({ authorization: basic("b:first") });
    await writeFile(password_file, "second");
    await clock.advance(1000);
    expect(await two.requestHeaders()).toEqual({ authorization: basic("b:second") });
  });
});

describe("basicAuthSchema", () => {
  it.each([
    [{}, "no credential source provided"],
    [{ htpasswd: {} }, "htpasswd: no credential source provided"],
    [{ htpasswd: { inline: "a:s3" }, client_auth: {} }, "only one of `htpasswd` or `client_auth` can be specified"],
    [{ htpasswd: { inline: "a:s3\ns3cret" } }, "htpasswd::inline: htpasswd line 2 is not user:password"],
    [{ htpasswd: { inline: "a:$apr1$s3cret$x" } }, "htpasswd line 1: this kind of password hash is not supported"],
    [{ htpasswd: { inline: "a:{SHA}s3cret" } }, "the SHA-1 hash has a wrong length"],
    [{ htpasswd: { inline: `a:$2y$31$${"s3cret".padEnd(53, ".")}` } }, "bcrypt cost 31 is not between 4 and 14"],
    [{ client_auth: { password: "s3cret" } }, "client_auth: no credential source provided"],
    [{ client_auth: { username: "a:b" } }, 'client_auth::username: a user name cannot hold ":"'],
  ])("refuses %j without showing passwords", (section, message) => {
    expect(() => basicAuthExtensionFactory.configure(section)).toThrow(message);
    expect(() => basicAuthExtensionFactory.configure(section)).not.toThrow("s3cret");
  });

  it("hides passwords when the configuration is printed", () => {
    const shown = [{ htpasswd: { inline: "a:s3cret" } }, { client_auth: { username: "a", password: "s3cret" } }].map(
      (section) => JSON.stringify(basicAuthExtensionFactory.configure(section).effective),
    );
    expect(shown.join()).not.toContain("s3cret");
    expect(shown.join()).toContain("[REDACTED]");
  });
});
