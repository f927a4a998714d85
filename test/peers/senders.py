"""Sends spans through the OpenTelemetry SDK for Python, as vLLM does: BatchSpanProcessor and the OTLP exporter.

    senders.py rich PROTOCOL ENDPOINT...   one trace with all that the SDK can say, the same spans to every endpoint
    senders.py spans PROTOCOL ENDPOINT     the spans in the file SPANS_FILE names, a JSON array of
        {name, scope, trace_id, span_id, parent_span_id (hex, or ""), start, end (unix ns), attributes, resource}

PROTOCOL is grpc (ENDPOINT http://HOST:PORT) or http (ENDPOINT http://HOST:PORT/v1/traces). With https:// the exporters read
OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY. Prints the number of spans; exit
code 1 when an exporter was not answered with success.
"""
import json
import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

failures = 0


class Counting(SpanExporter):
    """Counts what the exporter inside was refused, which the SDK only logs."""

    def __init__(self, inside):
        self.inside = inside

    def export(self, spans):
        global failures
        result = self.inside.export(spans)
        failures += result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self):
        self.inside.shutdown()

    def force_flush(self, timeout_millis=30000):
        return self.inside.force_flush(timeout_millis)


def exporter(protocol, endpoint):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return Counting(OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https:")))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Counting(OTLPSpanExporter(endpoint=endpoint))


class GivenIds(IdGenerator):
    """The ids of the next span, instead of random ones."""

    trace_id = span_id = 0

    def generate_trace_id(self):
        return self.trace_id

    def generate_span_id(self):
        return self.span_id


def provider(resource, protocol, endpoints, **options):
    made = TracerProvider(resource=Resource.create(resource), **options)
    for endpoint in endpoints:
        made.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint)))
    return made


def context(trace_id, span_id):
    """What vLLM makes of a traceparent header; an empty one where there was none."""
    if not span_id:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    remote = trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(1))
    return trace.set_span_in_context(trace.NonRecordingSpan(remote))


def send_rich(protocol, endpoints):
    made = provider({"service.name": "python"}, protocol, endpoints, span_limits=SpanLimits(max_events=2))
    tracer = made.get_tracer("rich", "1.0", schema_url="https://opentelemetry.io/schemas/1.26.0", attributes={"a": 1})
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER, context=context("1" * 32, "2" * 16)) as outer:
        outer.set_attributes({"text": "größer", "int": 2**53 + 1, "float": float("nan"), "yes": True,
                              "texts": ["a", "b"], "ints": [1, -1], "bytes": b"\x00\xff"})
        for number in range(3):
            outer.add_event(f"event {number}", {"n": number})
        link = trace.Link(outer.get_span_context(), {"why": "linked"})
        with tracer.start_as_current_span("inner", kind=trace.SpanKind.CLIENT, links=[link]) as inner:
            inner.set_status(trace.StatusCode.ERROR, "it broke")
            inner.record_exception(ValueError("no"))
    made.shutdown()
    return 2


def send_spans(protocol, endpoint):
    with open(os.environ["SPANS_FILE"], encoding="utf8") as file:
        spans = json.load(file)
    for resource in sorted({json.dumps(span["resource"], sort_keys=True) for span in spans}):
        ids = GivenIds()
        made = provider(json.loads(resource), protocol, [endpoint], id_generator=ids)
        for span in (span for span in spans if json.dumps(span["resource"], sort_keys=True) == resource):
            ids.trace_id, ids.span_id = int(span["trace_id"], 16), int(span["span_id"], 16)
            made.get_tracer(span["scope"]).start_span(
                span["name"], context=context(span["trace_id"], span["parent_span_id"]), kind=trace.SpanKind.SERVER,
                attributes=span["attributes"], start_time=int(span["start"])).end(end_time=int(span["end"]))
        made.shutdown()
    return len(spans)


what, protocol, *endpoints = sys.argv[1:]
print(send_rich(protocol, endpoints) if what == "rich" else send_spans(protocol, endpoints[0]))
sys.exit(1 if failures else 0)
