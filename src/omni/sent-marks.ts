/** Which requests were sent, so small that it can be written down for each: what a later process needs to send none twice. */
import { RECEIVED, START } from "./actions.ts";
import type { ProxyRequest } from "./proxy-request.ts";
import { hashText } from "./remembered.ts";

/** Hashes (52 bits) that stand for one sent request. */
export interface SentMark {
  /** Of its key: connection, id and "Time received" stamp. */
  readonly key: number;
  /** Of its source, connection and id, for when its first lines are not read again. */
  readonly rest: number;
}

/** The hash of a request's key. As long as the key is not fixed, this does not fix it. */
export function keyHash(request: ProxyRequest): number {
  const { connection, id, time } = request.identity
    ? request.key()
    : { connection: request.connection, id: request.id ?? "", time: request.keyTime };
  return hashText(`${connection}\n${id}\n${time}`);
}

/** What is written down of a request that was sent. */
export function markOf(request: ProxyRequest): SentMark {
  return { key: keyHash(request), rest: restHash(request) };
}

function restHash({ host, instance, connection, id }: ProxyRequest): number {
  return hashText(`${host}\n${instance}\n${connection}\n${id ?? ""}`);
}

/** The requests that an earlier process sent. */
export class SentMarks {
  readonly #keys = new Set<number>();
  readonly #rests = new Set<number>();

  add(mark: SentMark): void {
    this.#keys.add(mark.key);
    this.#rests.add(mark.rest);
  }

  /** Whether this request was sent. */
  has(request: ProxyRequest): boolean {
    return this.#keys.has(keyHash(request));
  }

  /** Whether this is what is left of a request that was sent: its first lines are not there any more. */
  hasRestOf(request: ProxyRequest): boolean {
    return !request.has(RECEIVED) && !request.has(START) && this.#rests.has(restHash(request));
  }
}
