"""A server's tracer, from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from common.errors import NotReady
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from common.tracing.spans import SpanCounts, Tracer


@asynccontextmanager
async def tracing(settings: ServerSettings, metrics: Metrics) -> AsyncIterator[Tracer | None]:
    """Yield a tracer while the body runs, or None if the settings name no collector; then send what is left.

    Raises:
        NotReady: The packages of the extra `tracing` are not installed.
    """
    if not settings.trace_endpoint:
        yield None
        return
    tracer = _open_tracer(settings, metrics)
    try:
        yield tracer
    finally:
        await asyncio.to_thread(tracer.close)


def _open_tracer(settings: ServerSettings, metrics: Metrics) -> Tracer:
    try:
        # Not needed, and not installed, where tracing is off.
        from common.tracing.open_telemetry import OpenTelemetryTracer  # noqa: PLC0415
    except ImportError as error:
        raise NotReady(
            f"--trace-endpoint needs packages that are not installed ({error.name}): pip install 'shortlist[tracing]', "
            "or in a checkout pip install -e '.[tracing]'"
        ) from error
    counts = SpanCounts()
    metrics.registry.register(_SpanMetrics(metrics.namespace, counts))
    service = metrics.namespace.replace("_", "-")
    return OpenTelemetryTracer(service, settings.trace_endpoint, settings.trace_share, counts)


class _SpanMetrics(Collector):
    def __init__(self, namespace: str, counts: SpanCounts) -> None:
        self._namespace = namespace
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the counts of now."""
        spans = CounterMetricFamily(
            f"{self._namespace}_spans",
            "Spans recorded, and of these sent to the collector or refused by it; others wait or were dropped.",
            labels=("outcome",),
        )
        for outcome in ("recorded", "sent", "failed"):
            spans.add_metric((outcome,), getattr(self._counts, outcome))
        yield spans
