import type { Settings } from "../../kernel/api.ts";
import type { ClientAuthenticator } from "../../kernel/auth.ts";
import { SecretFile } from "../../transport/secret-file.ts";
import type { BasicAuthConfig } from "./config.ts";

/** Requests carry a user and a password (basicauthextension, client). A file wins over the value beside it. */
export class BasicAuthClient implements ClientAuthenticator {
  readonly #user: Source;
  readonly #password: Source;

  constructor(config: NonNullable<BasicAuthConfig["client_auth"]>, settings: Settings) {
    this.#user = source(config.username, config.username_file, settings);
    this.#password = source(config.password?.reveal() ?? "", config.password_file, settings);
  }

  async start(): Promise<void> {
    await this.#user.load();
    await this.#password.load();
    if ((await this.#user.current()).includes(":")) throw new Error('a user name cannot hold ":"');
  }

  async shutdown(): Promise<void> {}

  async requestHeaders(): Promise<Readonly<Record<string, string>>> {
    const [user, password] = await Promise.all([this.#user.current(), this.#password.current()]);
    return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
  }
}

interface Source {
  load(): Promise<void>;
  current(): Promise<string>;
}

function source(value: string, file: string, settings: Settings): Source {
  if (file !== "") return new SecretFile(file, (text) => text.trim(), settings);
  return { load: async () => {}, current: async () => value };
}
