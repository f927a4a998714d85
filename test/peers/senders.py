"""Sends spans through the OpenTelemetry SDK for Python, as vLLM does: BatchSpanProcessor and the OTLP exporter.

    senders.py rich PROTOCOL ENDPOINT...   one trace with all that the SDK can say, the same spans to every endpoint
    senders.py spans PROTOCOL ENDPOINT     the spans on standard input, a JSON array of
        {name, service, scope, start, end (unix ns), attributes, parent ("TRACEID-SPANID" or null)}

PROTOCOL is grpc (ENDPOINT http://HOST:PORT) or http (ENDPOINT http://HOST:PORT/v1/traces). Prints the number of spans; exit
code 1 when an exporter was not answered with success.
"""
import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
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

        return Counting(OTLPSpanExporter(endpoint=endpoint, insecure=True))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Counting(OTLPSpanExporter(endpoint=endpoint))


def provider(service, protocol, endpoints):
    made = TracerProvider(resource=Resource.create({"service.name": service}), span_limits=SpanLimits(max_events=2))
    for endpoint in endpoints:
        made.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint)))
    return made


def context(parent):
    if parent is None:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    trace_id, span_id = (int(part, 16) for part in parent.split("-"))
    remote = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(1))
    return trace.set_span_in_context(trace.NonRecordingSpan(remote))


def send_rich(protocol, endpoints):
    made = provider("python", protocol, endpoints)
    tracer = made.get_tracer("rich", "1.0", schema_url="https://opentelemetry.io/schemas/1.26.0", attributes={"a": 1})
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER, context=context("1" * 32 + "-" + "2" * 16)) as outer:
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
    spans = json.load(sys.stdin)
    for service in sorted({span["service"] for span in spans}):
        made = provider(service, protocol, [endpoint])
        for span in (span for span in spans if span["service"] == service):
            started = made.get_tracer(span["scope"]).start_span(
                span["name"], context=context(span["parent"]), kind=trace.SpanKind.SERVER,
                attributes=span["attributes"], start_time=int(span["start"]))
            started.end(end_time=int(span["end"]))
        made.shutdown()
    return len(spans)


what, protocol, *endpoints = sys.argv[1:]
print(send_rich(protocol, endpoints) if what == "rich" else send_spans(protocol, endpoints[0]))
sys.exit(1 if failures else 0)
