/**
 * What an authenticator extension gives to other components: the contract between `bearertokenauth`, `basicauth` and those
 * that name one with `auth::authenticator`. It stands here because a component imports no other component.
 */
import type { Component, Host } from "./api.ts";

/** Judges the requests that a receiver gets. */
export interface ServerAuthenticator extends Component {
  /**
   * Resolves when the sender may come in.
   * @param header the first value of a request header, by its lower-case name.
   * @throws Error for its sender to read: what is missing or wrong, never the secret. A `ConsumeError` that is retryable
   * says that it cannot be judged now.
   */
  authenticate(header: (name: string) => string | undefined): Promise<void>;
}

/** Proves who we are to the servers that an exporter sends to. */
export interface ClientAuthenticator extends Component {
  /** Request headers, lower-case names, as they are now: they may differ from call to call. */
  requestHeaders(): Promise<Readonly<Record<string, string>>>;
}

/** @throws Error worded as the Collector's (configauth) when there is no such extension or it cannot judge requests. */
export function serverAuthenticatorOf(host: Host, id: string): ServerAuthenticator {
  const extension = find(host, id);
  if (!("authenticate" in extension))
    throw new Error(
      `requested authenticator "${id}" is not a server authenticator: name a bearertokenauth, or a basicauth with htpasswd`,
    );
  return extension as ServerAuthenticator;
}

/** @throws Error worded as the Collector's (configauth) when there is no such extension or it has nothing to show. */
export function clientAuthenticatorOf(host: Host, id: string): ClientAuthenticator {
  const extension = find(host, id);
  if (!("requestHeaders" in extension))
    throw new Error(
      `requested authenticator "${id}" is not a client authenticator: name a bearertokenauth, or a basicauth with client_auth`,
    );
  return extension as ClientAuthenticator;
}

function find(host: Host, id: string): Component {
  const extension = host.extension(id);
  if (!extension) throw new Error(`failed to resolve authenticator "${id}": authenticator not found`);
  return extension;
}
