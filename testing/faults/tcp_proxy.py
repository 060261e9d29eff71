"""A TCP proxy whose connections can be cut, stalled and slowed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self

_CHUNK_BYTES: Final = 65_536


class TcpProxy:
    """Forwards connections to a server on this machine; used as an async context manager.

    Args:
        port: The server's port.

    Attributes:
        port: The proxy's own port.
        target: The server's port, to which new connections go.
        delay_s: How long each chunk of bytes is held back, in each direction.
        connections: How many connections were opened.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.connections = 0
        self.target = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._accepts = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """The proxy's address."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        """Hold all bytes back; connections stay open and new ones are taken, as of a host that hangs."""
        self._flowing.clear()

    def cut(self) -> None:
        """Close all connections, and each new one at once."""
        self._accepts = False
        for writer in self._writers:
            writer.transport.abort()

    def restore(self) -> None:
        """Forward again; bytes that were held back follow."""
        self._accepts = True
        self._flowing.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            with suppress(OSError):
                await self._forward(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepts:
            return
        await self._flowing.wait()
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(server_writer)
        copies = [
            asyncio.create_task(self._copy(reader, server_writer)),
            asyncio.create_task(self._copy(server_reader, writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            self._writers.discard(server_writer)
            server_writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
