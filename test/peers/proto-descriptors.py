#!/usr/bin/env python3
"""The official descriptors behind proto/, as JSON that test/conformance/proto.test.ts compares field by field.

    pip install opentelemetry-proto==1.45.2 googleapis-common-protos==1.76.0 grpcio-health-checking==1.80.0
    python proto-descriptors.py > test/fixtures/otlp/official-descriptors.json     regenerate
    python proto-descriptors.py --check test/fixtures/otlp/official-descriptors.json

`--check` compares what the installed packages say with a file: exit 0 when equal (their versions may differ), 1 with
a unified diff when not.
"""

import difflib
import importlib
import json
import sys
from importlib.metadata import version

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

PACKAGES = ["opentelemetry-proto", "googleapis-common-protos", "grpcio-health-checking", "protobuf"]

# Path in proto/ -> the module that holds the official descriptor.
FILES = {
    "opentelemetry/proto/common/v1/common.proto": "opentelemetry.proto.common.v1.common_pb2",
    "opentelemetry/proto/resource/v1/resource.proto": "opentelemetry.proto.resource.v1.resource_pb2",
    "opentelemetry/proto/trace/v1/trace.proto": "opentelemetry.proto.trace.v1.trace_pb2",
    "opentelemetry/proto/metrics/v1/metrics.proto": "opentelemetry.proto.metrics.v1.metrics_pb2",
    "opentelemetry/proto/logs/v1/logs.proto": "opentelemetry.proto.logs.v1.logs_pb2",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto": "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto": "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
    "opentelemetry/proto/collector/logs/v1/logs_service.proto": "opentelemetry.proto.collector.logs.v1.logs_service_pb2",
    "google/protobuf/any.proto": "google.protobuf.any_pb2",
    "google/protobuf/duration.proto": "google.protobuf.duration_pb2",
    "google/rpc/status.proto": "google.rpc.status_pb2",
    "google/rpc/error_details.proto": "google.rpc.error_details_pb2",
    "grpc/health/v1/health.proto": "grpc_health.v1.health_pb2",
}

# Files of which proto/ has a part: the messages it has.
PARTS = {"google/rpc/error_details.proto": ["google.rpc.RetryInfo"]}


def field(message, f):
    return {
        "name": f.name,
        "number": f.number,
        "label": FieldDescriptorProto.Label.Name(f.label)[len("LABEL_") :].lower(),
        "type": f.type_name.lstrip(".") or FieldDescriptorProto.Type.Name(f.type)[len("TYPE_") :].lower(),
        "oneof": message.oneof_decl[f.oneof_index].name if f.HasField("oneof_index") and not f.proto3_optional else None,
        "optional": f.proto3_optional,
    }


def messages(prefix, declared, out):
    for m in declared:
        name = f"{prefix}.{m.name}"
        out[name] = {
            "fields": sorted((field(m, f) for f in m.field), key=lambda f: f["number"]),
            "reserved": sorted([r.start, r.end - 1] for r in m.reserved_range),
        }
        messages(name, m.nested_type, out)


def enums(prefix, owner, nested, out):
    for e in owner:
        out[f"{prefix}.{e.name}"] = {v.name: v.number for v in e.value}
    for m in nested:
        enums(f"{prefix}.{m.name}", m.enum_type, m.nested_type, out)


def describe(path, module):
    proto = FileDescriptorProto()
    importlib.import_module(module).DESCRIPTOR.CopyToProto(proto)
    out = {"package": proto.package, "syntax": proto.syntax, "messages": {}, "enums": {}, "services": {}}
    messages(proto.package, proto.message_type, out["messages"])
    enums(proto.package, proto.enum_type, proto.message_type, out["enums"])
    for service in proto.service:
        out["services"][f"{proto.package}.{service.name}"] = {
            m.name: {
                "input": m.input_type.lstrip("."),
                "output": m.output_type.lstrip("."),
                "clientStreaming": m.client_streaming,
                "serverStreaming": m.server_streaming,
            }
            for m in service.method
        }
    if path in PARTS:
        out["messages"] = {name: out["messages"][name] for name in PARTS[path]}
        out["enums"] = {}
    return out


def main():
    dump = {
        "from": "PyPI, by test/peers/proto-descriptors.py",
        "versions": {name: version(name) for name in PACKAGES},
        "files": {path: describe(path, module) for path, module in FILES.items()},
    }
    if sys.argv[1:2] != ["--check"]:
        json.dump(dump, sys.stdout, indent=1)
        print()
        return 0
    with open(sys.argv[2], encoding="utf-8") as file:
        vendored = json.load(file)
    diff = list(
        difflib.unified_diff(
            json.dumps(vendored["files"], indent=1, sort_keys=True).splitlines(),
            json.dumps(dump["files"], indent=1, sort_keys=True).splitlines(),
            sys.argv[2],
            "installed packages",
            lineterm="",
        )
    )
    print("\n".join(diff) or f"equal: {len(FILES)} files, {dump['versions']}")
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())
