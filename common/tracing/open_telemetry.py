"""Spans by OpenTelemetry, sent to a collector over OTLP. Import it only where tracing is on: it is an extra.

A call is sampled as its caller decided, in `traceparent`; a call without one by a share of all. The span of a batch is
sampled if any of its calls is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.tracing.spans import Attributes, Headers, Span, SpanCounts

# The time that a collector has for one batch of spans, retries included. A stopping server waits for two at most.
_EXPORT_S: Final = 2.0
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NO_PARENT: Final = Context()


class OpenTelemetrySpan:
    """A span; see `Span`."""

    def __init__(self, tracer: Any, span: Any, counts: SpanCounts) -> None:
        self._tracer = tracer
        self._span = span
        self._counts = counts
        self.is_recorded: bool = span.is_recording()

    @property
    def trace_id(self) -> str:
        """The trace in 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def headers(self) -> Headers:
        """Return `traceparent` and the caller's `tracestate`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self._context())
        return tuple(carrier.items())

    def child(self, name: str, *, is_call: bool = False) -> Self:
        """Start a step below it."""
        kind = SpanKind.CLIENT if is_call else SpanKind.INTERNAL
        return self._like(self._tracer.start_span(name, self._context(), kind))

    def linked(self, name: str, others: Sequence[Span], seconds: float) -> Self:
        """Start a span of its own trace, linked with this and other spans in both directions."""
        spans: list[OpenTelemetrySpan] = [self, *(other for other in others if isinstance(other, OpenTelemetrySpan))]
        links = [Link(each._span.get_span_context()) for each in spans]  # noqa: SLF001 - of the same class
        began_ns = time.time_ns() - round(seconds * 1e9)
        made = self._tracer.start_span(name, _NO_PARENT, SpanKind.INTERNAL, links=links, start_time=began_ns)
        for each in spans:
            if each._span.is_recording():  # noqa: SLF001 - its call may have given up
                each._span.add_link(made.get_span_context())  # noqa: SLF001
        return self._like(made)

    def set(self, attributes: Attributes) -> None:
        """Add what the step is about."""
        self._span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        """End it, as failed if the error has a name."""
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
            self._span.set_attribute("error.type", error)
        self._counts.recorded += self.is_recorded
        self._span.end()

    def _context(self) -> Context:
        return set_span_in_context(self._span, _NO_PARENT)

    def _like(self, span: Any) -> Self:
        return type(self)(self._tracer, span, self._counts)


class OpenTelemetryTracer:
    """A server's tracer; see `Tracer`.

    Args:
        service: The server's name, such as `shortlist-gateway`.
        endpoint: The collector: `http://host:port`, or `https://host:port` for TLS.
        share: The share of calls without a decision of their caller that are sampled.
        counts: Is told of the spans.
    """

    def __init__(self, service: str, endpoint: str, share: float, counts: SpanCounts) -> None:
        self._counts = counts
        options: Any = (("grpc.enable_http_proxy", 0),)  # typed as texts, but gRPC wants a number
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_S, channel_options=options)
        self._exporter = _CountingExporter(exporter, counts)
        # `OTEL_RESOURCE_ATTRIBUTES` of the environment adds to these.
        self._provider = TracerProvider(
            sampler=_CallSampler(share),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("shortlist")

    def start_call(self, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> OpenTelemetrySpan:
        """Start the span of a call that arrived."""
        carrier = {key: value for key, value in metadata if key in _PROPAGATOR.fields and isinstance(value, str)}
        parent = _PROPAGATOR.extract(carrier, _NO_PARENT) if carrier else _NO_PARENT
        return OpenTelemetrySpan(self._tracer, self._tracer.start_span(method, parent, SpanKind.SERVER), self._counts)

    def close(self) -> None:
        """Send what is recorded; a collector that does not answer is given up."""
        self._exporter.is_closing = True
        self._provider.shutdown()


class _CallSampler(Sampler):
    def __init__(self, share: float) -> None:
        self._calls = ParentBased(TraceIdRatioBased(share))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Sample what a sampled call is linked with, else as the caller decided, else by the share."""
        has_parent = get_current_span(parent_context).get_span_context().is_valid
        linked = not has_parent and any(link.context.trace_flags.sampled for link in links or ())
        sampler = ALWAYS_ON if linked else self._calls
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return what it does."""
        return "calls linked with sampled ones, else as the parent, else a share"


class _CountingExporter(SpanExporter):
    """Counts what the collector took. While it closes, one failure is enough to give the rest up."""

    def __init__(self, exporter: SpanExporter, counts: SpanCounts) -> None:
        self._exporter = exporter
        self._counts = counts
        self._has_failed = False
        self.is_closing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        given_up = self.is_closing and self._has_failed
        result = SpanExportResult.FAILURE if given_up else self._exporter.export(spans)
        self._has_failed = result is not SpanExportResult.SUCCESS
        if self._has_failed:
            self._counts.failed += len(spans)
        else:
            self._counts.sent += len(spans)
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()
