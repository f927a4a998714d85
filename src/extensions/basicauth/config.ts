import { presence, secret, section, text, withHint, type z } from "../../config/schema.ts";
import { notYet } from "../../transport/server-config.ts";
import { parseHtpasswd } from "./htpasswd.ts";

/** The Collector's keys and checks (extension/basicauthextension/config.go); `inline` is hidden in print-config, which it is not there. */
export const basicAuthSchema = section({
  htpasswd: presence({ file: text(""), inline: secret().optional() }),
  client_auth: presence({
    username: text(""),
    username_file: text(""),
    password: secret().optional(),
    password_file: text(""),
    aws_secrets_manager: notYet("aws_secrets_manager"),
  }),
}).check((ctx) => {
  const { htpasswd, client_auth } = ctx.value;
  const issue = (path: string[], message: string): void => {
    ctx.issues.push({ code: "custom", input: ctx.value, path, message });
  };
  const hint = "for a receiver write htpasswd with file or inline, for an exporter client_auth";
  if (htpasswd && client_auth) issue([], "only one of `htpasswd` or `client_auth` can be specified");
  else if (!htpasswd && !client_auth) issue([], withHint("no credential source provided", hint));
  else if (client_auth) {
    const { username, username_file } = client_auth;
    if (username === "" && username_file === "")
      issue(["client_auth"], withHint("no credential source provided", "give username or username_file"));
    if (username.includes(":")) issue(["client_auth", "username"], 'a user name cannot hold ":"');
  } else if (htpasswd) {
    const inline = htpasswd.inline?.reveal() ?? "";
    if (htpasswd.file === "" && inline === "")
      issue(["htpasswd"], withHint("no credential source provided", "give file or inline"));
    try {
      parseHtpasswd(inline);
    } catch (error) {
      issue(["htpasswd", "inline"], (error as Error).message);
    }
  }
});

/** The decoded section. */
export type BasicAuthConfig = z.output<typeof basicAuthSchema>;
