/** Apache's htpasswd files: `user:password` a line, the password plain, {SHA}, {SSHA} or bcrypt. */
import { createHash, timingSafeEqual } from "node:crypto";
import { compare } from "bcryptjs";

/** Whether a password is the right one. */
type Check = (password: string) => boolean | Promise<boolean>;

/** One user's line. */
export interface HtpasswdEntry {
  /** Bcrypt is meant to be slow: tens of milliseconds and more of one core. */
  readonly isSlow: boolean;
  readonly matches: Check;
}

/** Most rounds (2 to the power of) that are taken: 14 are a second and more of one core a login. */
const MAX_BCRYPT_COST = 14;

/**
 * User -> entry; the later line of a user wins. Blank lines and lines that begin with # are skipped.
 * @throws Error that names the line, never its password
 */
export function parseHtpasswd(content: string): ReadonlyMap<string, HtpasswdEntry> {
  const entries = new Map<string, HtpasswdEntry>();
  for (const [index, raw] of content.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const colon = line.indexOf(":");
    if (colon <= 0) throw new Error(`htpasswd line ${index + 1} is not user:password`);
    try {
      entries.set(line.slice(0, colon), entryOf(line.slice(colon + 1)));
    } catch (error) {
      throw new Error(`htpasswd line ${index + 1}: ${(error as Error).message}`);
    }
  }
  return entries;
}

function entryOf(hash: string): HtpasswdEntry {
  const [, cost] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
  if (cost !== undefined) {
    if (Number(cost) < 4 || Number(cost) > MAX_BCRYPT_COST)
      throw new Error(`bcrypt cost ${Number(cost)} is not between 4 and ${MAX_BCRYPT_COST}`);
    return { isSlow: true, matches: (password) => compare(password, hash) };
  }
  if (hash.startsWith("{SHA}")) return shaEntry(hash.slice(5), false);
  if (hash.startsWith("{SSHA}")) return shaEntry(hash.slice(6), true);
  if (hash.startsWith("$") || hash.startsWith("{"))
    throw new Error("this kind of password hash is not supported: make a bcrypt one with `htpasswd -nB USER`");
  const digest = sha256(hash);
  return { isSlow: false, matches: (password) => timingSafeEqual(sha256(password), digest) };
}

/** {SHA}: base64 of SHA-1; {SSHA}: of SHA-1 of password and salt, and the salt behind it. */
function shaEntry(encoded: string, isSalted: boolean): HtpasswdEntry {
  const bytes = Buffer.from(encoded, "base64");
  if (isSalted ? bytes.length <= 20 : bytes.length !== 20) throw new Error("the SHA-1 hash has a wrong length");
  const [digest, salt] = [bytes.subarray(0, 20), bytes.subarray(20)];
  return {
    isSlow: false,
    matches: (password) => timingSafeEqual(createHash("sha1").update(password).update(salt).digest(), digest),
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
