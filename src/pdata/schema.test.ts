import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { protoRoot } from "../../test/kit/proto.ts";
import { ENUMS, fieldsOf, MESSAGES, type MessageName, REQUEST } from "./schema.ts";

/** Messages of proto/ that are no part of a request. */
const ELSEWHERE = /Data$|Response$|PartialSuccess$/;
const DEPRECATED = 1000;

describe("MESSAGES", () => {
  const types = collect(protoRoot(true).lookup("opentelemetry") as protobuf.Namespace, protobuf.Type).filter(
    (type) => !ELSEWHERE.test(type.name),
  );

  it("names every message of a request in proto/", () => {
    expect(Object.keys(MESSAGES).sort()).toEqual(types.map((type) => type.name).sort());
  });

  it.each(types.map((type) => [type.name, type] as const))("%s has the fields of proto/", (name, type) => {
    const ours = fieldsOf(name as MessageName).filter(([number]) => number !== DEPRECATED);
    const theirs = type.fieldsArray.map((field) => [field.id, field.name, typeOf(field), ruleOf(field)]);
    expect(ours.map(([number, field, type, rule]) => [number, field, type, rule])).toEqual(theirs);
  });

  it.each(Object.values(REQUEST))("%s holds resources that may have scopes of the old form", (request) => {
    const resource = fieldsOf(fieldsOf(request)[0]?.[2] as MessageName);
    const [scopes, old] = [2, DEPRECATED].map((number) => resource.find((field) => field[0] === number));
    expect(old?.[2]).toBe(scopes?.[2]);
  });
});

describe("ENUMS", () => {
  const enums = new Map(
    collect(protoRoot(true).lookup("opentelemetry") as protobuf.Namespace, protobuf.Enum).map((e) => [e.name, e]),
  );

  it.each(Object.entries(ENUMS))("%s has the values of proto/", (name, values) => {
    expect(Object.fromEntries(values)).toEqual(enums.get(name)?.values);
  });
});

function typeOf(field: protobuf.Field): string {
  if (field.type === "bytes" && field.name.endsWith("trace_id")) return "trace_id";
  if (field.type === "bytes" && field.name.endsWith("span_id")) return "span_id";
  return field.resolvedType?.name ?? field.type;
}

function ruleOf(field: protobuf.Field): string | undefined {
  if (field.repeated) return "repeated";
  if (field.options?.["proto3_optional"]) return "optional";
  return field.partOf?.name;
}

function collect<T extends protobuf.ReflectionObject>(
  namespace: protobuf.Namespace,
  kind: abstract new (...args: never[]) => T,
): T[] {
  return namespace.nestedArray.flatMap((object) => [
    ...(object instanceof kind ? [object] : []),
    ...(object instanceof protobuf.Namespace ? collect(object, kind) : []),
  ]);
}
