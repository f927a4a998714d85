import { expected, type Secret, secret, section, text, withHint, z } from "../../config/schema.ts";

/** What a header may hold: no control characters. */
export function fitsHeader(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

/** The Collector's keys, defaults and checks (extension/bearertokenauthextension/config.go). */
export const bearerTokenAuthSchema = section({
  header: text("Authorization"),
  scheme: text("Bearer"),
  token: secret().optional(),
  tokens: z.array(secret(), { error: (issue) => expected("slice", issue.input) }).nullish(),
  filename: text(""),
}).check((ctx) => {
  const { header, scheme, token, tokens, filename } = ctx.value;
  const issue = (path: string[], message: string): void => {
    ctx.issues.push({ code: "custom", input: ctx.value, path, message });
  };
  const inline: [string[], Secret][] = [
    ...(token ? [[["token"], token] as [string[], Secret]] : []),
    ...(tokens ?? []).map((each, at) => [["tokens", String(at)], each] as [string[], Secret]),
  ];
  if (inline.length === 0 && filename === "")
    issue([], withHint("no bearer token provided", "give one of token, tokens and filename"));
  if (token && (tokens ?? []).length > 0) issue(["tokens"], "either tokens or token should be provided, not both");
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(header)) issue(["header"], `invalid header name ${JSON.stringify(header)}`);
  if (!fitsHeader(scheme)) issue(["scheme"], "scheme has characters that a header cannot hold");
  for (const [path, each] of inline) {
    if (each.reveal() === "") issue(path, "the token is empty");
    else if (!fitsHeader(each.reveal()))
      issue(
        path,
        withHint("the token has characters that a header cannot hold", "remove line ends and control characters"),
      );
  }
});

/** The decoded section. */
export type BearerTokenAuthConfig = z.output<typeof bearerTokenAuthSchema>;
