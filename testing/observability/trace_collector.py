"""An OpenTelemetry collector that keeps what it is sent over OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire.

    Attributes:
        service: The server that sent it.
        name: Its name.
        kind: Its kind: 1 internal, 2 server, 3 client.
        trace_id: Its trace.
        span_id: Its id.
        parent_id: The span above it; empty for none.
        links: The trace and span ids of the spans that it is linked with.
        error: The name of the error that it ended with; empty for none.
        attributes: Its attributes.
    """

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[tuple[str, str]]
    error: str
    attributes: dict[str, Any]


@dataclass
class TraceCollector(TraceServiceServicer):
    """The collector.

    Attributes:
        endpoint: Its address, as `--trace-endpoint` takes it.
        requests: The messages that it was sent.
    """

    endpoint: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    def Export(  # noqa: N802 - the contract's name
        self, request: ExportTraceServiceRequest, context: Any
    ) -> ExportTraceServiceResponse:
        """Keep spans."""
        del context
        self.requests.append(request)
        return ExportTraceServiceResponse()

    def spans(self) -> list[ReceivedSpan]:
        """Return the spans so far."""
        return [
            _received(_attributes(resource.resource.attributes)["service.name"], span)
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """Run a collector while the body runs."""
    collector = TraceCollector()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated without types
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()


def _received(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else "",
        _attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)
