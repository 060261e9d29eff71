"""A gRPC server listens on all addresses of its host, and goes on listening."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from common.server.lifecycle import grpc_server
from common.server.lifecycle.grpc_server import GrpcServer, PortUnavailable
from testing.faults.http2_client import Http2Client


def make() -> grpc.aio.Server:
    """Return a server with one method that answers with its request."""

    async def behaviour(request: bytes, _: Any) -> bytes:
        return request

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(behaviour)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
    return server


def bind(server: grpc.aio.Server, address: str) -> int:
    """Add a port."""
    return server.add_insecure_port(address)


async def said(port: int, host: str = "127.0.0.1") -> bytes:
    """Return what a server answers, once it can be reached."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        answer: bytes = await channel.unary_unary("/Echo/Say")(b"hello", wait_for_ready=True, timeout=30)
        return answer


async def ended(client: Http2Client) -> None:
    """Return once a server has closed the connection."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await client.ended(99)


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    """Return a server that runs."""
    started = GrpcServer(make, bind, "127.0.0.1", 0, "--port")
    await started.start()
    yield started
    await started.stop(0)


async def test_a_path_that_is_not_text_does_not_end_the_server(server: GrpcServer):
    """GRPC's own loop ends on such a path; the server is then started again on the same port, and the log says so."""
    with capture_logs() as logs:
        for _ in range(2):
            client = await Http2Client.connect(server.port)
            await client.call(b"/Echo/\xff", b"")
            await ended(client)
            assert await said(server.port) == b"hello"
            await client.close()
    assert [line["loop"] for line in logs if line["log_level"] == "error"] == ["grpc server"] * 2


async def test_a_name_listens_on_all_its_addresses_or_refuses(monkeypatch: pytest.MonkeyPatch):
    """A name with two addresses listens on both; if the port is taken on one of them, it is refused."""
    found = [(None, None, None, "", (address, 0)) for address in ("127.0.0.1", "127.0.0.2", "192.0.2.1")]
    monkeypatch.setattr(grpc_server.socket, "getaddrinfo", lambda *_, **__: found)
    both = GrpcServer(make, bind, "two", 0, "--port")
    await both.start()
    assert [await said(both.port, host) for host in ("127.0.0.1", "127.0.0.2")] == [b"hello", b"hello"]
    await both.stop(0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        with pytest.raises(PortUnavailable, match=r"127\.0\.0\.2:.* cannot be used"):
            GrpcServer(make, bind, "two", taken.getsockname()[1], "--port")
