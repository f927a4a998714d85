import { readFileSync } from "node:fs";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { protoFiles, protoRoot, protoText } from "../kit/proto.ts";

/** What test/peers/proto-descriptors.py writes: the descriptors that PyPI's official packages hold. */
interface Official {
  versions: Record<string, string>;
  files: Record<string, FileFacts>;
}

interface FileFacts {
  package: string;
  syntax: string;
  messages: Record<string, MessageFacts>;
  enums: Record<string, Record<string, number>>;
  services: Record<string, Record<string, MethodFacts>>;
}

interface MessageFacts {
  fields: FieldFacts[];
  reserved: number[][];
}

interface FieldFacts {
  name: string;
  number: number;
  label: string;
  type: string;
  oneof: string | null;
  optional: boolean;
}

interface MethodFacts {
  input: string;
  output: string;
  clientStreaming: boolean;
  serverStreaming: boolean;
}

const official: Official = JSON.parse(
  readFileSync(new URL("../fixtures/otlp/official-descriptors.json", import.meta.url), "utf8"),
);

describe("proto/", () => {
  const ours = describeAll(protoRoot(true));

  it("has a file for each official one and no other", () => {
    expect(protoFiles()).toEqual(Object.keys(official.files).sort());
  });

  it.each(Object.keys(official.files))("%s equals the official descriptor field by field", (path) => {
    expect(ours.get(path)).toEqual(official.files[path]);
  });

  it("is compared with descriptors that hold the whole of OTLP", () => {
    const facts = Object.values(official.files);
    const messages = facts.flatMap((file) => Object.values(file.messages));
    expect(messages.length).toBeGreaterThan(45);
    expect(messages.flatMap((message) => message.fields).length).toBeGreaterThan(150);
    expect(facts.flatMap((file) => Object.keys(file.services))).toHaveLength(4);
    expect(official.versions).toHaveProperty("opentelemetry-proto");
  });
});

function describeAll(root: protobuf.Root): Map<string, FileFacts> {
  const files = new Map<string, FileFacts>();
  visit(root, (object) => {
    const path = object.filename;
    if (!path || object instanceof protobuf.Field) return;
    const facts = files.get(path) ?? {
      package: packageOf(object),
      syntax: /^syntax = "(\w+)";$/m.exec(protoText(path))?.[1] ?? "none",
      messages: {},
      enums: {},
      services: {},
    };
    files.set(path, facts);
    if (object instanceof protobuf.Type) facts.messages[name(object)] = message(object);
    else if (object instanceof protobuf.Enum) facts.enums[name(object)] = { ...object.values };
    else if (object instanceof protobuf.Service) facts.services[name(object)] = methods(object);
  });
  return files;
}

function visit(object: protobuf.ReflectionObject, see: (object: protobuf.ReflectionObject) => void): void {
  see(object);
  if (object instanceof protobuf.Namespace) for (const nested of object.nestedArray) visit(nested, see);
}

function message(type: protobuf.Type): MessageFacts {
  return {
    fields: type.fieldsArray
      .map((field) => ({
        name: field.name,
        number: field.id,
        label: field.repeated ? "repeated" : "optional",
        type: field.resolvedType ? name(field.resolvedType) : field.type,
        oneof: field.partOf && !isOptional(field) ? field.partOf.name : null,
        optional: isOptional(field),
      }))
      .sort((a, b) => a.number - b.number),
    reserved: (type.reserved ?? [])
      .filter((range): range is number[] => Array.isArray(range))
      .sort(([a = 0], [b = 0]) => a - b),
  };
}

function methods(service: protobuf.Service): Record<string, MethodFacts> {
  return Object.fromEntries(
    service.methodsArray.map((method) => [
      method.name,
      {
        input: name(method.resolvedRequestType),
        output: name(method.resolvedResponseType),
        clientStreaming: method.requestStream === true,
        serverStreaming: method.responseStream === true,
      },
    ]),
  );
}

function isOptional(field: protobuf.Field): boolean {
  return field.options?.["proto3_optional"] === true;
}

function name(object: protobuf.ReflectionObject | null): string {
  return object?.fullName.slice(1) ?? "unresolved";
}

function packageOf(object: protobuf.ReflectionObject): string {
  let at = object.parent;
  while (at instanceof protobuf.Type) at = at.parent;
  return name(at);
}
