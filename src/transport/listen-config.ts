/** The `endpoint` and `transport` keys of everything that listens (confignet.AddrConfig). */

import { listenTransports, parseListenAddress } from "../config/listen-address.ts";
import { expected, oneOf, withHint, z } from "../config/schema.ts";
import { defaultEndpoint } from "./listen.ts";

/** `transport`: tcp unless given. */
export const listenTransport = () => oneOf(listenTransports, "tcp");

/**
 * `endpoint`: host:port or unix:///path. Absent: localhost and `port`, or the host of OMNISHIM_LISTEN_HOST.
 * With `transport: unix` beside it the value is a path, which only `parseListenAddress` with that transport can judge.
 */
export function listenEndpoint(port: number) {
  return z
    .string({ error: (issue) => expected("string", issue.input) })
    .check((ctx) => {
      if (ctx.value.startsWith("/") || ctx.value.startsWith("@")) return;
      const parsed = parseListenAddress(ctx.value);
      if (typeof parsed === "string")
        ctx.issues.push({
          code: "custom",
          input: ctx.value,
          message: withHint(
            parsed,
            `for example "localhost:${port}", "0.0.0.0:${port}" or "unix:///run/omnishim.sock"`,
          ),
        });
    })
    .default(() => defaultEndpoint(port));
}
