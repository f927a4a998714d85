/** What the exporters that speak to a peer over the network have in common. */
import type { Component, Consumers, Host, Settings } from "../kernel/api.ts";
import { createExporter } from "./exporter.ts";
import { type QueueConfig, queueSchema } from "./queue-config.ts";
import { type DeadLetterConfig, deadLetterSchema, type SplitConfig, splitSchema } from "./refused-config.ts";
import { type RetryConfig, retrySchema } from "./retry.ts";
import type { Sender } from "./sender.ts";

/** Keys that every such exporter has: the Collector's `retry_on_failure` and `sending_queue`, and two of ours. */
export const networkKeys = {
  retry_on_failure: retrySchema,
  sending_queue: queueSchema,
  split_refused: splitSchema,
  dead_letter: deadLetterSchema,
};

/** The part of a decoded section that is here. */
export interface NetworkConfig {
  /** Milliseconds for each attempt; 0 means no limit. */
  readonly timeout: number;
  readonly retry_on_failure: RetryConfig;
  readonly sending_queue: QueueConfig;
  readonly split_refused: SplitConfig;
  readonly dead_letter?: DeadLetterConfig | undefined;
}

/** Sends single requests to a peer. */
export interface NetworkSender {
  readonly send: Sender;
  /** Gets ready to connect. @throws Error when a file or the authenticator cannot be used */
  open(host: Host): Promise<void>;
  close(): Promise<void>;
}

/** An exporter that sends with `sender`. */
export function createNetworkExporter(
  config: NetworkConfig,
  settings: Settings,
  sender: NetworkSender,
): Component & { readonly consumers: Consumers } {
  return createExporter({
    settings,
    send: (batch, signal) => sender.send(batch, signal),
    timeoutMs: config.timeout,
    retry: config.retry_on_failure,
    queue: config.sending_queue,
    split: config.split_refused,
    deadLetter: config.dead_letter,
    open: (host) => sender.open(host),
    close: () => sender.close(),
  });
}
