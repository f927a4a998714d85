/**
 * Requests whose root was sent: enough of each that a late span finds its place, that a UUID used again is seen, and
 * that the same log read twice makes no second root. Kept in typed arrays outside the JavaScript heap: half a million
 * of them as objects would be most of the heap and of every garbage collection.
 */
import type { Role } from "./actions.ts";
import type { IdBytes } from "./id-source.ts";

/** One remembered request. Times are unix microseconds, ids lower-case hex. */
export interface Remembered {
  /** Binary string as logged. */
  readonly id: string;
  readonly keyHash: number;
  readonly traceId: string;
  readonly rootSpanId: string;
  /** "" where the request had no such span. */
  readonly prefillSpanId: string;
  readonly decodeSpanId: string;
  readonly startUs: number;
  readonly endUs: number;
  /** What `traceId` says, where its bytes stand. */
  readonly traceIdBytes?: IdBytes;
  /** Reads all of it now: before it is held longer than a call, for what was not read is lost when it is forgotten. */
  keep?(): void;
}

// Record: id length 1, id 36, trace id 16, three span ids 24, padding to 80, then four doubles.
const ID_BYTES = 36;
const TRACE_AT = 1 + ID_BYTES;
const SPANS_AT = TRACE_AT + 16;
const BYTES = 80;
const DOUBLES = 3;
const CHUNK = 4096;
/** Newest requests of one id that a span is held against. */
const MOST_OF_ONE_ID = 64;
const ZERO_SPAN = "0000000000000000";

/** A 52-bit hash of a binary string (two rounds of FNV-1a over 26 bits each): cheap, and checked against the bytes. */
export function hashText(text: string): number {
  let low = 0x811c9dc5;
  let high = 0x1b873593;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    low = Math.imul(low ^ c, 0x01000193);
    high = Math.imul(high ^ c, 0x85ebca6b);
    high ^= high >>> 15;
  }
  return (low >>> 6) * 0x4000000 + (high >>> 6);
}

/** A record of the ring: its ids are made into texts when they are asked for. */
class Slot implements Remembered {
  readonly keyHash: number;
  readonly startUs: number;
  readonly endUs: number;
  #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number, times: Float64Array, timesAt: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.startUs = times[timesAt] as number;
    this.endUs = times[timesAt + 1] as number;
    this.keyHash = times[timesAt + 2] as number;
  }

  get id(): string {
    const at = this.#at;
    return this.#bytes.toString("latin1", at + 1, at + 1 + (this.#bytes[at] as number));
  }

  get traceId(): string {
    return this.#bytes.toString("hex", this.#at + TRACE_AT, this.#at + TRACE_AT + 16);
  }

  get traceIdBytes(): IdBytes {
    return { bytes: this.#bytes, at: this.#at + TRACE_AT };
  }

  get rootSpanId(): string {
    return this.#span(0);
  }

  get prefillSpanId(): string {
    return this.#span(1);
  }

  get decodeSpanId(): string {
    return this.#span(2);
  }

  #span(n: number): string {
    const at = this.#at + SPANS_AT + n * 8;
    const id = this.#bytes.toString("hex", at, at + 8);
    return id === ZERO_SPAN ? "" : id;
  }

  keep(): void {
    this.#bytes = Buffer.from(this.#bytes.subarray(this.#at, this.#at + BYTES));
    this.#at = 0;
  }
}

const NOTHING: readonly Remembered[] = [];

/** A ring of at most `capacity` requests, found by id and by key. The oldest is forgotten first. */
export class RememberedRequests {
  readonly #capacity: number;
  readonly #bytes: Buffer[] = [];
  readonly #times: Float64Array[] = [];
  #next: Int32Array = new Int32Array(0);
  #nextKey: Int32Array = new Int32Array(0);
  #heads: Int32Array = new Int32Array(0);
  #keyHeads: Int32Array = new Int32Array(0);
  /** Records ever added; record n lies at n % capacity. */
  #added = 0;
  #oldest = 0;

  constructor(capacity: number) {
    this.#capacity = Math.max(1, capacity);
  }

  get size(): number {
    return this.#added - this.#oldest;
  }

  add(request: Remembered): void {
    if (this.size === this.#capacity) this.#dropOldest();
    const slot = this.#added++ % this.#capacity;
    this.#grow(slot);
    const bytes = this.#bytes[Math.floor(slot / CHUNK)] as Buffer;
    const at = (slot % CHUNK) * BYTES;
    bytes.fill(0, at, at + BYTES);
    bytes[at] = Math.min(ID_BYTES, request.id.length);
    bytes.write(request.id.slice(0, ID_BYTES), at + 1, "latin1");
    bytes.write(request.traceId, at + TRACE_AT, "hex");
    for (const [i, id] of [request.rootSpanId, request.prefillSpanId, request.decodeSpanId].entries()) {
      bytes.write(id === "" ? ZERO_SPAN : id, at + SPANS_AT + i * 8, "hex");
    }
    const times = this.#times[Math.floor(slot / CHUNK)] as Float64Array;
    times.set([request.startUs, request.endUs, request.keyHash], (slot % CHUNK) * DOUBLES);
    this.#link(slot, request.id, request.keyHash);
  }

  /** True when one with this id, in either case, is remembered. */
  hasId(id: string): boolean {
    if (this.size === 0) return false;
    for (
      let slot = (this.#heads[this.#idBucket(id)] as number) - 1;
      slot >= 0;
      slot = (this.#next[slot] as number) - 1
    ) {
      if (this.#idIs(slot, id, true)) return true;
    }
    return false;
  }

  /** Those with this id (exact bytes), newest first, at most MOST_OF_ONE_ID: an id may be used without end. */
  byId(id: string): readonly Remembered[] {
    if (this.size === 0) return NOTHING;
    let found: Remembered[] | undefined;
    for (
      let slot = (this.#heads[this.#idBucket(id)] as number) - 1;
      slot >= 0;
      slot = (this.#next[slot] as number) - 1
    ) {
      if (!this.#idIs(slot, id, false)) continue;
      if (found) found.push(this.#read(slot));
      else found = [this.#read(slot)];
      if (found.length === MOST_OF_ONE_ID) break;
    }
    return found ?? NOTHING;
  }

  /** True when a request with this key hash is remembered. */
  hasKey(keyHash: number): boolean {
    if (this.size === 0) return false;
    for (
      let slot = (this.#keyHeads[this.#bucket(keyHash)] as number) - 1;
      slot >= 0;
      slot = (this.#nextKey[slot] as number) - 1
    ) {
      if (this.#keyHash(slot) === keyHash) return true;
    }
    return false;
  }

  /** Forgets those that started before. */
  forgetBefore(startUs: number): void {
    while (this.size > 0) {
      const slot = this.#oldest % this.#capacity;
      if (((this.#times[Math.floor(slot / CHUNK)] as Float64Array)[(slot % CHUNK) * DOUBLES] as number) >= startUs)
        return;
      this.#dropOldest();
    }
  }

  #idIs(slot: number, id: string, foldCase: boolean): boolean {
    const bytes = this.#bytes[Math.floor(slot / CHUNK)] as Buffer;
    const at = (slot % CHUNK) * BYTES;
    if (bytes[at] !== id.length) return false;
    for (let i = 0; i < id.length; i++) {
      const a = bytes[at + 1 + i] as number;
      const b = id.charCodeAt(i);
      if (a !== b && !(foldCase && lower(a) === lower(b))) return false;
    }
    return true;
  }

  #read(slot: number): Remembered {
    return new Slot(
      this.#bytes[Math.floor(slot / CHUNK)] as Buffer,
      (slot % CHUNK) * BYTES,
      this.#times[Math.floor(slot / CHUNK)] as Float64Array,
      (slot % CHUNK) * DOUBLES,
    );
  }

  #keyHash(slot: number): number {
    return (this.#times[Math.floor(slot / CHUNK)] as Float64Array)[(slot % CHUNK) * DOUBLES + 2] as number;
  }

  #bucket(hash: number): number {
    return hash % this.#heads.length;
  }

  /** By the id without regard to case: one round of FNV-1a, in whole numbers of 32 bits, as it is asked for every span. */
  #idBucket(id: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < id.length; i++) {
      hash = Math.imul(hash ^ lower(id.charCodeAt(i)), 0x01000193);
      hash ^= hash >>> 15;
    }
    return (hash >>> 0) % this.#heads.length;
  }

  #link(slot: number, id: string, keyHash: number): void {
    const bucket = this.#idBucket(id);
    this.#next[slot] = this.#heads[bucket] as number;
    this.#heads[bucket] = slot + 1;
    const keyBucket = this.#bucket(keyHash);
    this.#nextKey[slot] = this.#keyHeads[keyBucket] as number;
    this.#keyHeads[keyBucket] = slot + 1;
  }

  #dropOldest(): void {
    const slot = this.#oldest++ % this.#capacity;
    unlink(this.#heads, this.#next, this.#idBucket(this.#read(slot).id), slot);
    unlink(this.#keyHeads, this.#nextKey, this.#bucket(this.#keyHash(slot)), slot);
  }

  #grow(slot: number): void {
    const chunk = Math.floor(slot / CHUNK);
    if (chunk < this.#bytes.length) return;
    this.#bytes.push(Buffer.alloc(CHUNK * BYTES));
    this.#times.push(new Float64Array(CHUNK * DOUBLES));
    const room = this.#bytes.length * CHUNK;
    this.#next = enlarged(this.#next, room);
    this.#nextKey = enlarged(this.#nextKey, room);
    if (this.#heads.length >= room) return;
    // Twice the buckets, and everything linked anew in order of age.
    this.#heads = new Int32Array(room * 2);
    this.#keyHeads = new Int32Array(room * 2);
    for (let n = this.#oldest; n < this.#added - 1; n++) {
      const old = this.#read(n % this.#capacity);
      this.#link(n % this.#capacity, old.id, old.keyHash);
    }
  }
}

/** The span that a late vLLM span goes under. */
export function homeOf(request: Remembered, role: Role | undefined): string {
  if (role === "prefill" && request.prefillSpanId !== "") return request.prefillSpanId;
  if (role === "decode" && request.decodeSpanId !== "") return request.decodeSpanId;
  return request.rootSpanId;
}

function lower(c: number): number {
  return c >= 65 && c <= 90 ? c + 32 : c;
}

function enlarged(array: Int32Array, length: number): Int32Array {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}

function unlink(heads: Int32Array, next: Int32Array, bucket: number, slot: number): void {
  let before = -1;
  for (let at = (heads[bucket] as number) - 1; at >= 0; at = (next[at] as number) - 1) {
    if (at === slot) {
      if (before < 0) heads[bucket] = next[at] as number;
      else next[before] = next[at] as number;
      return;
    }
    before = at;
  }
}
