/**
 * What a YAML scalar means to the Collector: go.yaml.in/yaml/v3, resolve.go. That is YAML 1.2 with parts of 1.1: `010`
 * is octal, `0b11` and `1_000` are numbers; `yes` and `on` stay strings, and so do base-60 numbers (`1:30`).
 * Timestamps, which the Collector refuses where a string is wanted, are strings here.
 */

/** What a scalar can be. */
export type ScalarValue = string | number | boolean | null;

const WORDS: ReadonlyMap<string, ScalarValue> = new Map<string, ScalarValue>([
  ...["true", "True", "TRUE"].map((word) => [word, true] as const),
  ...["false", "False", "FALSE"].map((word) => [word, false] as const),
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, null] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, Number.NaN] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map((word) => [word, Number.POSITIVE_INFINITY] as const),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, Number.NEGATIVE_INFINITY] as const),
]);

const POINT_FLOAT = /^\.\d+(?:[eE][-+]?\d+)?$/;
const FLOAT = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;
const INTEGER = /^([-+]?)(?:0[xX]([\da-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9]\d*))$/;
const MOST_NEGATIVE = -(2n ** 63n);
const MOST_POSITIVE = 2n ** 64n - 1n;

/** The value of an untagged plain scalar. Integers beyond 2^53 lose their last digits: no setting is that large. */
export function resolvePlain(text: string): ScalarValue {
  const word = WORDS.get(text);
  if (word !== undefined) return word;
  if (text.startsWith(".")) return POINT_FLOAT.test(text) ? finite(Number(text), text) : text;
  if (!/^[-+\d]/.test(text)) return text;
  const digits = text.replaceAll("_", "");
  const integer = parseInteger(digits);
  if (integer !== undefined) return Number(integer);
  return FLOAT.test(digits) ? finite(Number(digits), text) : text;
}

/** strconv.ParseFloat refuses what no float64 can hold. */
function finite(value: number, text: string): number | string {
  return Number.isFinite(value) ? value : text;
}

/** strconv.ParseInt with base 0, then ParseUint: undefined when not an integer or out of both ranges. */
function parseInteger(digits: string): bigint | undefined {
  const match = INTEGER.exec(digits);
  if (!match) return undefined;
  const [, sign, hex, binary, octal, decimal] = match;
  const size =
    hex !== undefined
      ? BigInt(`0x${hex}`)
      : binary !== undefined
        ? BigInt(`0b${binary}`)
        : octal !== undefined
          ? BigInt(`0o${octal}`)
          : BigInt(decimal ?? "0");
  const value = sign === "-" ? -size : size;
  // ParseUint takes no sign.
  if (value < MOST_NEGATIVE || value > (sign === "" ? MOST_POSITIVE : 2n ** 63n - 1n)) return undefined;
  return value;
}

const STANDARD = "tag:yaml.org,2002:";

/**
 * The value of a scalar with an explicit tag (`!!int "12"`); tags that are not YAML's own leave a string.
 * @returns the value, or an `Error` worded as the Collector's.
 */
export function resolveTagged(tag: string, text: string): ScalarValue | Error {
  if (!tag.startsWith(STANDARD)) return text;
  const short = tag.slice(STANDARD.length);
  if (short === "str" || short === "timestamp") return text;
  if (short === "binary") {
    const bytes = Buffer.from(text, "base64");
    return bytes.toString("base64") === text.replace(/\s/g, "") ? bytes.toString() : badTag(text, "str", "binary");
  }
  const value = resolvePlain(text);
  const found = typeName(value);
  if (short === found) return value;
  if (short === "float" && found === "int") return value;
  return ["bool", "int", "float", "null"].includes(short) ? badTag(text, found, short) : text;
}

function typeName(value: ScalarValue): string {
  if (value === null) return "null";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  return typeof value === "boolean" ? "bool" : "str";
}

function badTag(text: string, found: string, wanted: string): Error {
  return new Error(`cannot decode !!${found} \`${text}\` as a !!${wanted}`);
}
