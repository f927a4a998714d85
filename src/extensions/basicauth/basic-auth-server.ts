import { createHash, timingSafeEqual } from "node:crypto";
import type { Settings } from "../../kernel/api.ts";
import type { ServerAuthenticator } from "../../kernel/auth.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { SecretFile } from "../../transport/secret-file.ts";
import { type HtpasswdEntry, parseHtpasswd } from "./htpasswd.ts";

type Users = ReadonlyMap<string, HtpasswdEntry>;

/** Slow checks that may wait for their turn; a flood of wrong passwords must not take the processor from what has none. */
const MAX_WAITING = 16;
/** How long a sender should wait when there are more. */
const BUSY_RETRY_MS = 1000;

/** Where users are from; `inline` wins over `file`, as in the Collector. */
export interface HtpasswdSource {
  readonly file: string;
  readonly inline: string;
}

/** Requests must carry a user and password of an htpasswd file (basicauthextension, server). */
export class BasicAuthServer implements ServerAuthenticator {
  readonly #inline: Users;
  readonly #file: SecretFile<Users> | undefined;
  /** The password that last passed a slow check, by the entry it passed: digests, one a user. */
  readonly #passed = new WeakMap<HtpasswdEntry, Buffer>();
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(source: HtpasswdSource, settings: Settings) {
    this.#inline = parseHtpasswd(source.inline);
    this.#file = source.file === "" ? undefined : new SecretFile(source.file, parseHtpasswd, settings);
  }

  async start(): Promise<void> {
    await this.#file?.load();
  }

  async shutdown(): Promise<void> {}

  async authenticate(header: (name: string) => string | undefined): Promise<void> {
    const value = header("authorization");
    if (value === undefined || value === "") throw new Error("no basic auth provided");
    const { user, password } = parse(value);
    const users = (await this.#file?.current()) ?? NOBODY;
    if (await this.#knows(users, user, password)) return;
    // A sender may have the new password before a second has passed.
    const newer = (await this.#file?.current(true)) ?? users;
    if (newer !== users && (await this.#knows(newer, user, password))) return;
    throw new Error("invalid credentials");
  }

  async #knows(inFile: Users, user: string, password: string): Promise<boolean> {
    const entry = this.#inline.get(user) ?? inFile.get(user);
    if (entry) return this.#matches(entry, password);
    // Somebody's, so that an unknown user takes as long as a wrong password.
    const [decoy] = [...this.#inline.values(), ...inFile.values()];
    if (decoy) await this.#matches(decoy, password);
    return false;
  }

  async #matches(entry: HtpasswdEntry, password: string): Promise<boolean> {
    if (!entry.isSlow) return entry.matches(password);
    const digest = createHash("sha256").update(password).digest();
    const passed = this.#passed.get(entry);
    if (passed && timingSafeEqual(passed, digest)) return true;
    if (this.#waiting >= MAX_WAITING)
      throw new ConsumeError("retryable", "too many passwords are being checked; try again", {
        retryAfterMs: BUSY_RETRY_MS,
      });
    this.#waiting++;
    const turn = this.#turn.then(() => entry.matches(password));
    this.#turn = turn.catch(() => {});
    try {
      const matches = await turn;
      if (matches) this.#passed.set(entry, digest);
      return matches;
    } finally {
      this.#waiting--;
    }
  }
}

const NOBODY: Users = new Map();

/** @throws Error in the words of basicauthextension */
function parse(value: string): { readonly user: string; readonly password: string } {
  if (!/^basic /i.test(value)) throw new Error("invalid authorization scheme prefix");
  const encoded = value.slice(6);
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(encoded))
    throw new Error("invalid authorization format");
  const plain = Buffer.from(encoded, "base64").toString();
  const colon = plain.indexOf(":");
  if (colon < 0) throw new Error("invalid authorization format");
  return { user: plain.slice(0, colon), password: plain.slice(colon + 1) };
}
