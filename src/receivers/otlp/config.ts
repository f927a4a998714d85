/** The section of the otlp receiver: two protocols, each on when its key is there. */

import { type ListenAddress, type ListenTransport, parseListenAddress } from "../../config/listen-address.ts";
import { presence, section, text, withHint, type z } from "../../config/schema.ts";
import { grpcServerShape } from "../../transport/grpc/config.ts";
import { httpServerShape } from "../../transport/http/config.ts";

/** OTLP's registered ports. */
const GRPC_PORT = 4317;
const HTTP_PORT = 4318;

export const otlpReceiverSchema = section({
  protocols: section({
    /** `grpc:` alone turns it on. */
    grpc: presence(grpcServerShape(GRPC_PORT)).check(addressFitsTransport),
    /** `http:` alone turns it on. */
    http: presence({
      ...httpServerShape(HTTP_PORT),
      traces_url_path: text("/v1/traces"),
      metrics_url_path: text("/v1/metrics"),
      logs_url_path: text("/v1/logs"),
    }).check(addressFitsTransport),
  }),
}).check((ctx) => {
  const { grpc, http } = ctx.value.protocols;
  if (grpc || http) return;
  ctx.issues.push({
    code: "custom",
    input: ctx.value,
    message: withHint(
      "must specify at least one protocol when using the OTLP receiver",
      "write `protocols:` with `grpc:` or `http:` below it",
    ),
  });
});

/** A decoded section. */
export type OtlpReceiverConfig = z.output<typeof otlpReceiverSchema>;

/** Where a protocol listens; the schema has checked that it is an address. */
export function listenAddress(config: {
  readonly endpoint: string;
  readonly transport: ListenTransport;
}): ListenAddress {
  const address = parseListenAddress(config.endpoint, config.transport);
  if (typeof address === "string") throw new Error(address);
  return address;
}

type Addressed = { readonly endpoint: string; readonly transport: ListenTransport } | undefined;

/** `endpoint: /run/otlp.sock` needs `transport: unix` beside it. */
function addressFitsTransport(ctx: z.core.ParsePayload<Addressed>): void {
  if (ctx.value === undefined) return;
  const address = parseListenAddress(ctx.value.endpoint, ctx.value.transport);
  if (typeof address === "string")
    ctx.issues.push({
      code: "custom",
      input: ctx.value.endpoint,
      path: ["endpoint"],
      message: withHint(address, "for a Unix socket write unix:///path, or transport: unix"),
    });
}
