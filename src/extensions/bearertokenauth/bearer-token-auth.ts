import { createHash, timingSafeEqual } from "node:crypto";
import type { Settings } from "../../kernel/api.ts";
import type { ClientAuthenticator, ServerAuthenticator } from "../../kernel/auth.ts";
import { SecretFile } from "../../transport/secret-file.ts";
import { type BearerTokenAuthConfig, fitsHeader } from "./config.ts";

/** The header's values, and a digest of each: equal lengths, so that comparing takes the same time whatever came. */
interface Known {
  readonly values: readonly string[];
  readonly digests: readonly Buffer[];
}

/** Requests must carry, and do carry, one of the tokens (bearertokenauthextension). */
export class BearerTokenAuth implements ServerAuthenticator, ClientAuthenticator {
  readonly #config: BearerTokenAuthConfig;
  readonly #settings: Settings;
  readonly #header: string;
  readonly #file: SecretFile<Known> | undefined;
  readonly #inline: Known;

  constructor(config: BearerTokenAuthConfig, settings: Settings) {
    this.#config = config;
    this.#settings = settings;
    this.#header = config.header.toLowerCase();
    const tokens = config.tokens && config.tokens.length > 0 ? config.tokens : config.token ? [config.token] : [];
    this.#inline = this.#known(tokens.map((token) => token.reveal()));
    this.#file =
      config.filename === "" ? undefined : new SecretFile(config.filename, (text) => this.#parse(text), settings);
  }

  async start(): Promise<void> {
    if (!this.#file) return;
    if (this.#inline.values.length > 0)
      this.#settings.logger.warn("a filename is specified. Configured token(s) is ignored!");
    await this.#file.load();
  }

  async shutdown(): Promise<void> {}

  async authenticate(header: (name: string) => string | undefined): Promise<void> {
    const value = header(this.#header);
    if (value === undefined || value === "")
      throw new Error(`missing or empty authorization header: ${this.#config.header}`);
    const digest = digestOf(value);
    if (isAmong(digest, this.#file ? await this.#file.current() : this.#inline)) return;
    // A sender may have the new token before a second has passed.
    if (this.#file && isAmong(digest, await this.#file.current(true))) return;
    throw new Error("provided authorization does not match expected scheme or token");
  }

  async requestHeaders(): Promise<Readonly<Record<string, string>>> {
    const { values } = this.#file ? await this.#file.current() : this.#inline;
    return { [this.#header]: values[0] as string };
  }

  /** A token a line; blank lines do not count. */
  #parse(text: string): Known {
    const tokens = text
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
    if (tokens.length === 0) throw new Error("no token in the file: write one a line");
    const bad = tokens.findIndex((token) => !fitsHeader(token));
    if (bad >= 0) throw new Error(`token ${bad + 1} has characters that a header cannot hold`);
    return this.#known(tokens);
  }

  #known(tokens: readonly string[]): Known {
    const { scheme } = this.#config;
    const values = tokens.map((token) => (scheme === "" ? token : `${scheme} ${token}`));
    return { values, digests: values.map(digestOf) };
  }
}

function digestOf(value: string): Buffer {
  return createHash("sha256").update(value).digest();
}

/** Compares with every one, whether or not one has matched. */
function isAmong(digest: Buffer, known: Known): boolean {
  let found = false;
  for (const each of known.digests) found = timingSafeEqual(each, digest) || found;
  return found;
}
