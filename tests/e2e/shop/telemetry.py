"""How each service of the shop is instrumented: the OpenTelemetry Python SDK as its manual says.

The official instrumentations of Flask, requests and sqlite3, a BatchSpanProcessor with its default
settings (a flush every 5 s), and the exporter that OTEL_EXPORTER_OTLP_PROTOCOL names. What users
have is what is tested, so nothing is tuned here. The only addition is a count of the spans that
ended: an oracle for laghound's accounting that laghound has no part in.
It does NOT read anything back and knows nothing of laghound.
"""

import os
import threading

from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class SpanCounter(SpanProcessor):
    """Counts the spans that ended."""

    def __init__(self):
        self._lock = threading.Lock()
        self.spans = 0

    def on_end(self, span):
        with self._lock:
            self.spans += 1


def exporter():
    """The exporter of OTEL_EXPORTER_OTLP_PROTOCOL; the endpoint comes from its own variable."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    elif protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    else:
        raise SystemExit(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: use grpc or http/protobuf")
    return OTLPSpanExporter()


def start(service):
    """Instruments this process as `service`; returns the provider to shut down and the counter."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    counter = SpanCounter()
    provider.add_span_processor(counter)
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace.set_tracer_provider(provider)
    RequestsInstrumentor().instrument()
    SQLite3Instrumentor().instrument()
    return provider, counter
