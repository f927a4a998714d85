/** Server-sent events as OpenAI's streaming API uses them. Pure. */

/** Splits a stream into the data of its events. */
export class EventReader {
  #rest = "";
  readonly #decoder = new TextDecoder();

  /** The data of the events that this piece completes. @throws RangeError for an event beyond `MOST_EVENT` */
  take(piece: Uint8Array): string[] {
    this.#rest += this.#decoder.decode(piece, { stream: true });
    const events = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = events.pop() as string;
    if (this.#rest.length > MOST_EVENT) throw new RangeError(`an event is longer than ${MOST_EVENT} characters`);
    return events.flatMap((event) => {
      const data = event.split(/\r?\n/).flatMap((line) => /^data: ?(.*)$/.exec(line)?.[1] ?? []);
      return data.length > 0 ? [data.join("\n")] : [];
    });
  }
}

const MOST_EVENT = 4 * 1024 * 1024;

/** What one event of a chat completion tells. */
export interface ChatEvent {
  readonly done: boolean;
  /** It has a part of the answer. */
  readonly text: boolean;
  /** usage.completion_tokens, where the event tells it. */
  readonly tokens: number | undefined;
  /** The message of an error that was sent in the stream. */
  readonly error: string | undefined;
}

/** Reads an event's data; undefined where it is no JSON object. */
export function readChatEvent(data: string): ChatEvent | undefined {
  if (data.trim() === "[DONE]") return { done: true, text: false, tokens: undefined, error: undefined };
  let event: Spelled;
  try {
    event = JSON.parse(data) as Spelled;
  } catch {
    return undefined;
  }
  if (typeof event !== "object" || event === null) return undefined;
  const choices = Array.isArray(event.choices) ? event.choices : [];
  const parts = choices.flatMap((choice) => {
    const { content, reasoning_content, reasoning } = choice?.delta ?? {};
    return [content, reasoning_content, reasoning, choice?.text];
  });
  const tokens = event.usage?.completion_tokens;
  return {
    done: false,
    text: parts.some((part) => typeof part === "string" && part !== ""),
    tokens: typeof tokens === "number" ? tokens : undefined,
    error: event.error === undefined && event.object !== "error" ? undefined : errorOf(event),
  };
}

/** A chat completion's chunk as it may come: nothing of it is certain. */
interface Spelled {
  readonly object?: unknown;
  readonly choices?: {
    readonly text?: unknown;
    readonly delta?: { readonly content?: unknown; readonly reasoning_content?: unknown; readonly reasoning?: unknown };
  }[];
  readonly usage?: { readonly completion_tokens?: unknown } | null;
  readonly error?: unknown;
}

function errorOf(event: Spelled): string {
  const error = (event.error ?? event) as { message?: unknown };
  return typeof error.message === "string" ? error.message : JSON.stringify(error);
}
