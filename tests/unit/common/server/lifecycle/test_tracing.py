"""A server's tracer: off, without the extra, and with a collector that does not answer."""

from __future__ import annotations

import sys

import pytest

from common.errors import NotReady
from common.server.lifecycle.tracing import tracing
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.server_process import free_port


@pytest.fixture(autouse=True)
def _retry_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentelemetry.exporter.otlp.proto.grpc.exporter._MAX_RETRYS", 1)


async def test_without_an_endpoint_there_is_no_tracer(settings: ServerSettings, metrics: Metrics):
    """Tracing is off by default."""
    async with tracing(settings, metrics) as tracer:
        assert tracer is None


async def test_a_missing_extra_is_named(metrics: Metrics, monkeypatch: pytest.MonkeyPatch):
    """The error says which setting needs which packages, and how to install them."""
    monkeypatch.delitem(sys.modules, "common.tracing.open_telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = ServerSettings(trace_endpoint="http://127.0.0.1:4317")
    with pytest.raises(NotReady, match=r"--trace-endpoint needs .* pip install 'shortlist\[tracing\]'"):
        async with tracing(settings, metrics):
            pass


async def test_spans_that_no_collector_takes_are_counted(metrics: Metrics):
    """The server ends all the same."""
    settings = ServerSettings(trace_endpoint=f"http://127.0.0.1:{free_port()}", trace_share=1.0)
    async with tracing(settings, metrics) as tracer:
        assert tracer is not None
        for _ in range(3):
            tracer.start_call("shop.Service/Method", ()).end()
    counts = {
        outcome: metrics.registry.get_sample_value("shortlist_test_spans_total", {"outcome": outcome})
        for outcome in ("recorded", "sent", "failed")
    }
    assert counts == {"recorded": 3, "sent": 0, "failed": 3}


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4317", "http://collector", "grpc://collector:4317", "http://a:1/b"])
def test_an_endpoint_has_scheme_and_port(endpoint: str):
    """Anything else is refused at the start, not when the first span is sent."""
    with pytest.raises(ValueError, match="trace_endpoint"):
        ServerSettings(trace_endpoint=endpoint)
