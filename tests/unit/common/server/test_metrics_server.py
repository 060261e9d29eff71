"""The HTTP port of the metrics."""

from __future__ import annotations

import asyncio
import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from common.server import metrics_server
from common.server.metrics_server import metrics_server as serve


def _read(host: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry with one counter."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc()
    return registry


@pytest.mark.parametrize(("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_metrics_are_served(registry: CollectorRegistry, host: str, written: str):
    """The metrics of the registry are served, on either family of addresses."""
    with serve(host, 0, registry, None) as port:
        assert "calls_total 1.0" in await asyncio.to_thread(_read, written, port)


async def test_silent_connections_hold_nobody_up_and_are_closed(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
):
    """Connections that send nothing do not keep a scrape waiting, and are closed by the server."""
    monkeypatch.setattr(metrics_server, "_IDLE_S", 0.2)
    with serve("127.0.0.1", 0, registry, None) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(20)]
        assert "calls_total" in await asyncio.to_thread(_read, "127.0.0.1", port)
        for connection in silent:
            assert await asyncio.to_thread(connection.recv, 1) == b""
            connection.close()


async def test_connections_are_bounded(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch):
    """With as many connections open as allowed, the next is closed at once; later ones are answered again."""
    monkeypatch.setattr(metrics_server, "_MAX_CONNECTIONS", 1)
    with serve("127.0.0.1", 0, registry, None) as port:
        silent = socket.create_connection(("127.0.0.1", port), timeout=30)
        refused = socket.create_connection(("127.0.0.1", port), timeout=30)
        assert await asyncio.to_thread(refused.recv, 1) == b""
        silent.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := await asyncio.to_thread(silent.recv, 1 << 16):
            answer += part
        assert b"calls_total" in answer
        silent.close()
        refused.close()
        assert "calls_total" in await asyncio.to_thread(_read_at_last, port)


def _read_at_last(port: int) -> str:
    """Read the metrics, once the thread of the connection before has ended."""
    while True:
        try:
            return _read("127.0.0.1", port)
        except OSError:
            continue


def test_a_taken_port_is_an_error(registry: CollectorRegistry):
    """A port that is taken is an OSError."""
    with (
        serve("127.0.0.1", 0, registry, None) as port,
        pytest.raises(OSError, match="use"),
        serve("127.0.0.1", port, registry, None),
    ):
        pass
