/** `auth` of servers and clients: which extension judges requests, or proves who we are (the Collector's configauth). */
import { extensionId, presence, withHint } from "../config/schema.ts";
import { notYet } from "./server-config.ts";

/** Settles before anything of the request's body is read; a rejection's message is for the sender. */
export type Authenticate = (header: (name: string) => string | undefined) => Promise<void>;

/** The section: undefined when the key is absent, and nobody is asked who they are. */
export function authSection() {
  return presence({
    authenticator: extensionId(),
    /** Query parameters as headers: a secret in a URL ends up in logs. */
    request_params: notYet("request_params"),
  }).check((ctx) => {
    if (!ctx.value || ctx.value.authenticator !== undefined) return;
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["authenticator"],
      message: withHint("authenticator is required", "name an extension, such as bearertokenauth"),
    });
  });
}

/** For `Configured.extensions`: what the `auth` section at `path` names. */
export function authExtensions(
  auth: { readonly authenticator?: string | undefined } | undefined,
  ...path: readonly string[]
): readonly { path: readonly string[]; id: string }[] {
  return auth?.authenticator === undefined
    ? []
    : [{ path: [...path, "auth", "authenticator"], id: auth.authenticator }];
}
