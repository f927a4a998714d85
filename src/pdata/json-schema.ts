import { ENUMS, type EnumName, fieldsOf, MESSAGES, type MessageName } from "./schema.ts";
import { FIXED32, FIXED64, LEN, VARINT } from "./wire.ts";

/** How a field's value is spelled in JSON and on the wire. */
export const KIND = {
  STRING: 0,
  BYTES: 1,
  TRACE_ID: 2,
  SPAN_ID: 3,
  BOOL: 4,
  INT32: 5,
  UINT32: 6,
  SINT32: 7,
  INT64: 8,
  UINT64: 9,
  FIXED32: 10,
  FIXED64: 11,
  SFIXED64: 12,
  DOUBLE: 13,
  ENUM: 14,
  MESSAGE: 15,
} as const;

/** A field as the JSON codec needs it. */
export interface JsonField {
  readonly number: number;
  /** lowerCamelCase. */
  readonly name: string;
  readonly kind: number;
  readonly repeated: boolean;
  /** Of a oneof or optional: zero and absent differ. */
  readonly presence: boolean;
  readonly inOneof: boolean;
  /** Number and wire type; of repeated numbers those of the packed form. */
  readonly tag: number;
  /** Its place in JsonMessage.fields. */
  readonly index: number;
  readonly child: JsonMessage | undefined;
  readonly values: ReadonlyMap<string, number> | undefined;
}

/** A spelling of a field's name. */
export interface JsonKey {
  readonly text: Uint8Array;
  readonly field: JsonField;
  /** The key that followed this one last, in any message of the kind. Only a guess: it makes reading faster, never different. */
  next: JsonKey | undefined;
}

export interface JsonMessage {
  readonly name: MessageName;
  readonly fields: JsonField[];
  /** By field number. */
  readonly byNumber: JsonField[];
  /** By the hash of its text (hashStep). */
  readonly byHash: Map<number, JsonKey>;
  /** The key that came first last: a guess as JsonKey.next is. */
  first: JsonKey | undefined;
  /** How many bytes its length takes as a rule. A wrong guess costs a move, no more. */
  readonly lengthGuess: number;
  readonly isValue: boolean;
}

/** A step of the hash over a key's bytes; starts from 0. */
export function hashStep(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

const WIRE_OF: Record<string, readonly [kind: number, wire: number]> = {
  string: [KIND.STRING, LEN],
  bytes: [KIND.BYTES, LEN],
  trace_id: [KIND.TRACE_ID, LEN],
  span_id: [KIND.SPAN_ID, LEN],
  bool: [KIND.BOOL, VARINT],
  int32: [KIND.INT32, VARINT],
  uint32: [KIND.UINT32, VARINT],
  sint32: [KIND.SINT32, VARINT],
  int64: [KIND.INT64, VARINT],
  uint64: [KIND.UINT64, VARINT],
  fixed32: [KIND.FIXED32, FIXED32],
  fixed64: [KIND.FIXED64, FIXED64],
  sfixed64: [KIND.SFIXED64, FIXED64],
  double: [KIND.DOUBLE, FIXED64],
};

const messages = new Map<MessageName, JsonMessage>();

/** The message's table; made once. */
export function jsonMessage(name: MessageName): JsonMessage {
  const known = messages.get(name);
  if (known) return known;
  const message: JsonMessage = {
    name,
    fields: [],
    byNumber: [],
    byHash: new Map(),
    first: undefined,
    lengthGuess: /^(Resource|Scope)(Spans|Logs|Metrics)$/.test(name)
      ? 3
      : /^(Span|LogRecord|Metric|\w+DataPoint)$/.test(name)
        ? 2
        : 1,
    isValue: name === "AnyValue",
  };
  messages.set(name, message); // before its fields: values hold values
  for (const [number, snake, type, rule] of fieldsOf(name)) {
    const [kind, wire] = WIRE_OF[type] ?? (type in ENUMS ? [KIND.ENUM, VARINT] : [KIND.MESSAGE, LEN]);
    const repeated = rule === "repeated";
    const field: JsonField = {
      number,
      name: snake.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      kind,
      repeated,
      presence: rule !== undefined && !repeated,
      inOneof: rule !== undefined && rule !== "repeated" && rule !== "optional",
      tag: number * 8 + (repeated ? LEN : wire),
      index: message.fields.length,
      child: type in MESSAGES ? jsonMessage(type as MessageName) : undefined,
      values: ENUMS[type as EnumName],
    };
    message.fields.push(field);
    message.byNumber[number] = field;
    for (const spelling of new Set([field.name, snake])) {
      const text = Uint8Array.from(Buffer.from(spelling));
      const hash = text.reduce(hashStep, 0);
      if (message.byHash.has(hash)) throw new Error(`two keys of ${name} have one hash: ${spelling}`);
      message.byHash.set(hash, { text, field, next: undefined });
    }
  }
  return message;
}
