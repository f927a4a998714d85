/** Where the batches of one signal go. */
export interface Destination {
  /** "" when the signal has none. Never with a name or a password, so that it can be shown in errors. */
  readonly url: string;
  /** What a name and a password in the configured URL ask for, as Go's http.Client does it; a configured header wins. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads "http://jaeger:4318/v1/traces" or "https://user:password@gateway/v1/traces". */
export function destinationOf(configured: string): Destination {
  if (configured === "") return { url: "", headers: {} };
  const url = new URL(configured);
  if (url.username === "" && url.password === "") return { url: configured, headers: {} };
  const credentials = `${unescaped(url.username)}:${unescaped(url.password)}`;
  url.username = "";
  url.password = "";
  return { url: url.href, headers: { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` } };
}

/** Text with a `%` that escapes nothing is taken as it is. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
