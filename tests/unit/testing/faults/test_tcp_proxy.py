"""The TCP proxy that tests put between a client and its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from testing.faults.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    """Return a proxy of a server that echoes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with TcpProxy(server.sockets[0].getsockname()[1]) as between:
        yield between
    server.close()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


@pytest.fixture
async def connect(proxy: TcpProxy) -> AsyncIterator[Connect]:
    """Return a function that connects to the proxy; its connections are closed after the test."""
    opened: list[asyncio.StreamWriter] = []

    async def connected() -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        opened.append(writer)
        return reader, writer

    yield connected
    for writer in opened:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def test_bytes_pass_in_both_directions(connect: Connect):
    """What a client sends comes back from the server."""
    reader, writer = await connect()
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"


async def test_a_stalled_connection_stays_open_and_goes_on(proxy: TcpProxy, connect: Connect):
    """Nothing passes while the proxy stalls, and everything afterwards."""
    reader, writer = await connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    proxy.stall()
    writer.write(b"b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    proxy.restore()
    assert await reader.readexactly(1) == b"b"


async def test_a_cut_ends_open_connections_and_new_ones(proxy: TcpProxy, connect: Connect):
    """After a cut, reading fails or ends at once, until the proxy is restored."""
    reader, writer = await connect()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    proxy.cut()
    assert await _ends(reader)
    again, _ = await connect()
    assert await _ends(again)
    proxy.restore()
    reader, writer = await connect()
    writer.write(b"c")
    assert await reader.readexactly(1) == b"c"


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True
