/**
 * How a component says what its section of the file looks like. A schema is a zod codec: it decodes YAML values to
 * typed ones (a duration to milliseconds, a secret to a `Secret`) and encodes them back for print-config, defaults
 * filled in and secrets redacted. Keys stay snake_case as in the file. Messages are worded as the Collector's.
 */
import { z } from "zod";
import { ConfigErrors, type ConfigIssue } from "../kernel/errors.ts";
import { parseId } from "../kernel/id.ts";
import { parseDuration } from "./duration.ts";
import { closest } from "./suggest.ts";

export { z } from "zod";

/** Separates message from hint inside a zod message. */
const HINT = "\u0000";

/** An issue's message with "what to do" behind it, for `ctx.issues.push({code: "custom", message: withHint(…)})`. */
export function withHint(message: string, hint: string): string {
  return message + HINT + hint;
}

/**
 * A YAML map with exactly these keys. `key:` with nothing behind it (null) and an absent key both mean "all defaults",
 * as in the Collector. An unknown key is an error that suggests the nearest known one.
 * Where an absent key means "off", use `presence(...)`: `section(...).optional()` is the defaults too.
 */
export function section<S extends z.core.$ZodLooseShape>(shape: S) {
  const inner = z.strictObject(shape, { error: (issue) => unknownKeys(issue, Object.keys(shape)) });
  return z
    .codec(z.unknown(), inner, { decode: (value) => (value ?? {}) as never, encode: (value) => value as unknown })
    .prefault({});
}

/** Like `section`, but `undefined` when the key is absent: `grpc:` alone turns the protocol on, no key leaves it off. */
export function presence<S extends z.core.$ZodLooseShape>(shape: S) {
  const inner = z.strictObject(shape, { error: (issue) => unknownKeys(issue, Object.keys(shape)) });
  return z
    .codec(z.unknown(), inner, { decode: (value) => (value ?? {}) as never, encode: (value) => value as unknown })
    .optional();
}

function unknownKeys(issue: z.core.$ZodRawIssue, known: readonly string[]): string | undefined {
  if (issue.code === "invalid_type") return `expected a map, got ${describe(issue.input)}`;
  if (issue.code !== "unrecognized_keys") return undefined;
  const keys = (issue as { keys: string[] }).keys;
  const hints = keys.map((key) => {
    const near = closest(key, known);
    return near ? `did you mean \`${near}\`?` : `known keys: ${[...known].sort().join(", ")}`;
  });
  return withHint(keys.join(HINT), hints.join(HINT));
}

/**
 * A number of bytes: an integer, or a text such as "1KiB" (1024) or "1kb" (1000), as the Collector's file receivers
 * read them (stanza's ByteSize: decimal units without, binary units with an "i"; case does not matter).
 */
export function byteSize(fallback: string, min = 0, max = Number.MAX_SAFE_INTEGER) {
  return z
    .codec(
      z.union([z.string(), z.number()], {
        error: (issue) => `expected a size such as "1MiB" or 4096, got ${describe(issue.input)}`,
      }),
      z.number(),
      {
        decode: (value, ctx) => {
          const bytes = typeof value === "number" ? value : parseByteSize(value);
          const fault =
            bytes === undefined || !Number.isSafeInteger(bytes)
              ? withHint(`invalid size ${JSON.stringify(value)}`, 'write a whole number of bytes, or "64KiB", "1MiB"')
              : bytes < min
                ? `must be at least ${min} bytes, got ${bytes}`
                : bytes > max
                  ? `must be at most ${max} bytes, got ${bytes}`
                  : undefined;
          if (fault === undefined) return bytes as number;
          ctx.issues.push({ code: "custom", input: value, message: fault });
          return z.NEVER;
        },
        encode: (bytes) => bytes,
      },
    )
    .default(parseByteSize(fallback) ?? 0);
}

const SIZE_UNITS = "kmgtp";

/** Bytes of "1MiB", "1.5kb" or "300", rounded down, or undefined. */
export function parseByteSize(text: string): number | undefined {
  const [, number, prefix, binary] = /^(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i?)b)?$/i.exec(text.trim()) ?? [];
  if (number === undefined) return undefined;
  const power = prefix === undefined ? 0 : SIZE_UNITS.indexOf(prefix.toLowerCase()) + 1;
  return Math.floor(Number(number) * (binary ? 1024 : 1000) ** power);
}

/** A Go duration ("200ms", "1h30m", "1.5s"; 0; an integer is nanoseconds), as milliseconds. Negative ones are refused. */
export function duration(fallback?: string) {
  const codec = z.codec(
    z.union([z.string(), z.number()], {
      error: (issue) => `expected a duration such as "5s" or "200ms", got ${describe(issue.input)}`,
    }),
    z.number(),
    {
      decode: (value, ctx) => {
        const ms = typeof value === "number" ? value / 1e6 : parseDuration(value);
        if (ms === undefined || ms < 0 || !Number.isFinite(ms)) {
          ctx.issues.push({
            code: "custom",
            input: value,
            message: withHint(
              `time: invalid duration ${JSON.stringify(value)}`,
              'write a number with a unit, such as "200ms", "5s" or "1h30m"',
            ),
          });
          return z.NEVER;
        }
        return ms;
      },
      encode: (ms) => formatDuration(ms),
    },
  );
  return fallback === undefined ? codec : codec.default(parseDuration(fallback) ?? 0);
}

/** "1h30m0s", "200ms", "1.5s": as Go's Duration.String prints it. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 1) return ms < 1e-3 ? `${Math.round(ms * 1e6)}ns` : `${+(ms * 1e3).toFixed(3)}µs`;
  if (ms < 1000) return `${+ms.toFixed(6)}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = +((ms % 60_000) / 1000).toFixed(9);
  return `${hours > 0 ? `${hours}h` : ""}${hours > 0 || minutes > 0 ? `${minutes}m` : ""}${seconds}s`;
}

/** A string that must not be seen: prints as [REDACTED] (configopaque.String). Call `reveal` where it is used. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return "[REDACTED]";
  }
  toJSON(): string {
    return "[REDACTED]";
  }
}

/** A secret string. */
export function secret() {
  return z.codec(z.string({ error: (issue) => expected("string", issue.input) }), z.instanceof(Secret), {
    decode: (value) => new Secret(value),
    encode: (value) => value.toString(),
  });
}

/** true or false, nothing else. */
export const bool = (fallback: boolean) =>
  z.boolean({ error: (issue) => expected("bool", issue.input) }).default(fallback);

/** An integer with bounds. */
export function int(fallback: number | undefined, min = 0, max = Number.MAX_SAFE_INTEGER) {
  const base = z
    .int({ error: (issue) => expected("int", issue.input) })
    .min(min, { error: (issue) => `must be at least ${min}, got ${String(issue.input)}` })
    .max(max, { error: (issue) => `must be at most ${max}, got ${String(issue.input)}` });
  return (fallback === undefined ? base : base.default(fallback)) as z.ZodDefault<typeof base>;
}

/** A number with bounds. */
export function float(fallback: number, min = 0, max = Number.MAX_VALUE) {
  return z
    .number({ error: (issue) => expected("float64", issue.input) })
    .min(min, { error: (issue) => `must be at least ${min}, got ${String(issue.input)}` })
    .max(max, { error: (issue) => `must be at most ${max}, got ${String(issue.input)}` })
    .default(fallback);
}

/** A string; without `fallback` it is required. */
export function text(fallback: string): z.ZodDefault<z.ZodString>;
export function text(): z.ZodString;
export function text(fallback?: string) {
  const base = z.string({ error: (issue) => expected("string", issue.input) });
  return fallback === undefined ? base : base.default(fallback);
}

/** The id of an extension ("file_storage/queue"); undefined when absent or null. Whether there is one is checked later, by `Configured.extensions`. */
export function extensionId() {
  return z
    .codec(z.unknown(), z.string({ error: (issue) => expected("string", issue.input) }).optional(), {
      decode: (value) => (value ?? undefined) as never,
      encode: (value) => value as unknown,
    })
    .check((ctx) => {
      if (ctx.value === undefined) return;
      const id = parseId(ctx.value);
      if (typeof id === "string") ctx.issues.push({ code: "custom", input: ctx.value, message: id });
    })
    .optional();
}

/** One of these words. */
export function oneOf<const V extends readonly [string, ...string[]]>(values: V, fallback: V[number]) {
  return z
    .enum(values, {
      error: (issue) => {
        const near = typeof issue.input === "string" ? closest(issue.input, values) : undefined;
        return withHint(
          `expected one of ${values.map((value) => JSON.stringify(value)).join(", ")}, got ${describe(issue.input)}`,
          near ? `did you mean \`${near}\`?` : "",
        );
      },
    })
    .default(fallback as never);
}

/**
 * One of these words in any case, as zap and configtelemetry read levels.
 * @param words how an error begins: "unknown metrics level" -> `unknown metrics level "foo"`.
 * @param more other words, lower case, for the nearest of `values`.
 */
export function level<const V extends readonly string[]>(
  values: V,
  fallback: V[number],
  words: string,
  more: Readonly<Record<string, V[number]>> = {},
) {
  return z
    .codec(
      z.string({ error: (issue) => `${words} ${describe(issue.input)}` }),
      z.custom<V[number]>((value) => values.includes(value as string)),
      {
        decode: (value, ctx) => {
          const lower = value.toLowerCase();
          const known = values.find((word) => word === lower) ?? (Object.hasOwn(more, lower) ? more[lower] : undefined);
          if (known !== undefined) return known;
          const near = closest(lower, values);
          ctx.issues.push({
            code: "custom",
            input: value,
            message: withHint(
              `${words} ${JSON.stringify(value)}`,
              near ? `did you mean \`${near}\`?` : `one of ${values.join(", ")}`,
            ),
          });
          return z.NEVER;
        },
        encode: (value) => value,
      },
    )
    .default(fallback as never);
}

/** A list of strings; [] when absent or null. "a,b" is a list of two, as the Collector's decoder has it. */
export function texts() {
  const list = z.array(z.string({ error: (issue) => expected("string", issue.input) }), {
    error: (issue) => expected("slice", issue.input),
  });
  return z
    .codec(z.unknown(), list, {
      decode: (value) => (typeof value === "string" ? (value === "" ? [] : value.split(",")) : (value ?? [])) as never,
      encode: (value) => value as unknown,
    })
    .prefault([]);
}

/** A map of strings; {} when absent or null. */
export function textMap() {
  const map = z.record(z.string(), z.string({ error: (issue) => expected("string", issue.input) }), {
    error: (issue) => expected("map", issue.input),
  });
  return z
    .codec(z.unknown(), map, { decode: (value) => (value ?? {}) as never, encode: (value) => value as unknown })
    .prefault({});
}

/** A map of secrets, such as request headers; a list of `{name, value}` is the same (configopaque.MapList). */
export function secretMap() {
  const map = z.record(z.string(), secret(), { error: (issue) => expected("map", issue.input) });
  return z
    .codec(z.unknown(), map, {
      decode: (value) => (pairsAsMap(value) ?? value ?? {}) as never,
      encode: (value) => value as unknown,
    })
    .prefault({});
}

function pairsAsMap(value: unknown): unknown {
  if (!Array.isArray(value)) return undefined;
  const pairs = value as readonly { name?: unknown; value?: unknown }[];
  if (!pairs.every((pair) => typeof pair?.name === "string" && "value" in pair)) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair.name, pair.value]));
}

/** "expected type 'int', got unconvertible type 'string'": mapstructure's words, as the Collector prints them. */
export function expected(type: string, input: unknown): string {
  return input === undefined ? "is required" : `expected type '${type}', got ${describe(input)}`;
}

/** A value as a person would name it: `string "5x"`, `a map`, `nothing`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  const shown = JSON.stringify(value) ?? String(value);
  return `${typeof value} ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown}`;
}

/**
 * Decodes a section.
 * @throws ConfigErrors with every issue; paths are relative to the section.
 */
export function decodeSection<T extends z.ZodType>(
  schema: T,
  value: unknown,
): { config: z.output<T>; effective: unknown } {
  const result = schema.safeParse(value);
  if (!result.success) throw new ConfigErrors(result.error.issues.flatMap((issue) => toIssues(issue)));
  return { config: result.data, effective: z.encode(schema, result.data) };
}

function toIssues(issue: z.core.$ZodIssue): ConfigIssue[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const parts = issue.message.split(HINT);
    return issue.keys.map((key, at) => ({
      path: [...path, key],
      message: `'${path.at(-1) ?? ""}' has invalid keys: ${key}`,
      hint: parts[issue.keys.length + at] ?? "",
      atKey: true,
    }));
  }
  const [message, hint] = issue.message.split(HINT);
  return [{ path, message: message ?? "", ...(hint ? { hint } : {}) }];
}
