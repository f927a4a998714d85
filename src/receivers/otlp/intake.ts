/** From the bytes of a request to the pipeline: the part that both protocols share. */
import type { CallContext, Consumer, Consumers, Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { jsonToProto } from "../../pdata/json.ts";
import { countItems } from "../../pdata/validate.ts";
import type { OtlpReceiverTelemetry, Protocol } from "./telemetry.ts";

/** The bytes are not an export request of their signal. */
export class MalformedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "MalformedError";
  }
}

/** How a request is encoded. */
export type RequestEncoding = "protobuf" | "json";

/** Hands requests to the consumers of one receiver. */
export class Intake {
  readonly #next: Consumers;
  readonly #telemetry: OtlpReceiverTelemetry;

  constructor(next: Consumers, telemetry: OtlpReceiverTelemetry) {
    this.#next = next;
    this.#telemetry = telemetry;
  }

  /** Signals that have a pipeline. */
  get signals(): readonly Signal[] {
    return (Object.keys(this.#next) as Signal[]).filter((signal) => this.#next[signal] !== undefined);
  }

  /**
   * Resolves when the pipeline has taken the batch; only then may it be acknowledged. A request without items is a success
   * that no consumer sees, as in the Collector.
   * @throws MalformedError; ConsumeError (only as a rejection).
   */
  take(
    signal: Signal,
    protocol: Protocol,
    encoding: RequestEncoding,
    body: Uint8Array,
    call: CallContext,
  ): Promise<void> | undefined {
    let bytes = body;
    let items: number;
    try {
      if (encoding === "json") bytes = jsonToProto(signal, body);
      items = countItems(signal, bytes);
    } catch (error) {
      const { message } = error as Error;
      this.#telemetry.malformed(signal, protocol, call.peer, message);
      throw new MalformedError(message);
    }
    return items === 0 ? undefined : this.#consume(signal, protocol, bytes, items, call);
  }

  async #consume(
    signal: Signal,
    protocol: Protocol,
    bytes: Uint8Array,
    items: number,
    call: CallContext,
  ): Promise<void> {
    try {
      // One consumer type a signal; `signal` picks consumer and batch alike, which TypeScript cannot follow.
      await (this.#next[signal] as Consumer<"traces">).consume({ signal, bytes, items } as never, call);
    } catch (error) {
      this.#telemetry.refused(signal, protocol, items);
      throw ConsumeError.from(error);
    }
    this.#telemetry.accepted(signal, protocol, items);
  }
}
