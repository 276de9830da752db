"""Spans made by hand, for what needs so many of a certain kind. It does NOT send them."""

import os
import time

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

CLIENT, SERVER, FAILED = 3, 2, 2


def trace(milliseconds=1, children=0, failed=False):
    """The spans of a request that took so long and ends now: the root, and calls that lie within it."""
    now = time.time_ns()
    ids = os.urandom(24 + 8 * children)
    root = trace_pb2.Span(
        trace_id=ids[:16],
        span_id=ids[16:24],
        name="work",
        kind=SERVER,
        start_time_unix_nano=now - milliseconds * 1_000_000,
        end_time_unix_nano=now,
    )
    if failed:
        root.status.code = FAILED
    calls = []
    for at in range(24, len(ids), 8):
        call = trace_pb2.Span()
        call.CopyFrom(root)
        call.parent_span_id, call.span_id, call.kind, call.name = root.span_id, ids[at : at + 8], CLIENT, "call"
        calls.append(call)
    return [root, *calls]


def batch(traces):
    """A request with all their spans, of one service."""
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "sender"
    scope = resource.scope_spans.add()
    for spans in traces:
        scope.spans.extend(spans)
    return request
