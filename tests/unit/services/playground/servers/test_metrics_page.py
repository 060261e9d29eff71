"""Figures of a page of metrics."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from common.server.metrics_server import metrics_server
from services.playground.servers.metrics_page import figures, read_page


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    calls = Counter("shortlist_ranking_requests", "Calls.", ["method", "code"], registry=registry)
    calls.labels("/a.B/Rank", "OK").inc(8)
    calls.labels("/a.B/Rank", "UNAVAILABLE").inc(2)
    seconds = Histogram(
        "shortlist_ranking_request_seconds", "Seconds.", ["method"], buckets=(0.001, 0.01, 0.1), registry=registry
    )
    for _ in range(9):
        seconds.labels("/a.B/Rank").observe(0.005)
    seconds.labels("/a.B/Rank").observe(5)
    shared = Counter("shortlist_gateway_shared_requests", "Not by method.", ["result"], registry=registry)
    shared.labels("hit").inc()
    Gauge("shortlist_ranking_queue_pairs", "Pairs.", registry=registry).set(7)
    Gauge("python_threads", "Not ours.", registry=registry).set(3)
    return registry


def test_calls_latencies_and_gauges_are_read():
    """Errors are calls that were not OK, a quantile is the bound of its bucket, and gauges are the server's own."""
    found = figures(generate_latest(_registry()).decode())
    assert found["methods"] == [{"method": "Rank", "calls": 10, "errors": 2, "p50_ms": 10, "p99_ms": None}]
    assert found["gauges"] == {"queue_pairs": 7}


async def test_the_page_is_read_over_http():
    """A server that does not answer has no figures."""
    with metrics_server("127.0.0.1", 0, _registry(), None) as port:
        found = await read_page(f"127.0.0.1:{port}")
    assert found is not None
    assert found["gauges"] == {"queue_pairs": 7}
    assert await read_page(f"127.0.0.1:{port}") is None


@pytest.mark.parametrize("sent", [b"no HTTP at all", b"HTTP/1.0 200 OK\r\n\r\nno page of metrics\n"])
async def test_an_address_that_is_no_page_of_metrics_has_no_figures(sent: bytes):
    """Such as the port of gRPC, named by mistake: the other servers are still shown."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        assert await read_page(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") is None
