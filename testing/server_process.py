"""A server as a process of its own that is started, called, killed and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import NotReady
from common.server.channel import open_channel

# Below the ports that Linux gives to connections (net.ipv4.ip_local_port_range).
_PORTS: Final = (15_000, 32_000)
_POLL_S: Final = 0.02


class ServerProcess:
    """A server on a port of this machine; its log is appended to a file.

    Args:
        service: Its module below `services`.
        flags: Its settings, by flag.
        log: The file of its standard error.
        wrapper: A command that runs it, such as `nice`.
        host: Its address, of the loopback interface.
        port: Its port; a free one if there is none.
    """

    def __init__(
        self,
        service: str,
        flags: dict[str, Any],
        log: Path,
        wrapper: tuple[str, ...] = (),
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.channel = open_channel(f"{host}:{self.port}")
        given = {"host": host, "port": self.port, "metrics-port": 0} | flags
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        self._command = [*wrapper, sys.executable, "-m", f"services.{service}", *arguments]
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, without waiting until it serves."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )

    async def serving(self, timeout_s: float = 120) -> None:
        """Wait until it serves.

        Raises:
            NotReady: It ended, or does not serve within ``timeout_s``.
        """
        if self._process is None:
            raise NotReady("the server was not started")
        ended = asyncio.create_task(self._process.wait())
        watched = asyncio.create_task(self._watch(timeout_s))
        await asyncio.wait([ended, watched], return_when=asyncio.FIRST_COMPLETED)
        if not watched.done():
            watched.cancel()
            raise NotReady(f"the server ended with {ended.result()}: {self.last_line()}")
        ended.cancel()
        if (error := watched.exception()) is not None:
            raise NotReady(f"the server does not serve after {timeout_s} s: {self.last_line()}") from error

    @property
    def pid(self) -> int:
        """The process, 0 before its start."""
        return 0 if self._process is None else self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP to hang, SIGCONT to go on."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def last_line(self) -> str:
        """Return the last line of its log."""
        return self._log.read_text().rstrip().rpartition("\n")[2]

    async def kill(self) -> None:
        """Kill the process as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def terminate(self) -> int:
        """End the process with SIGTERM; returns its exit code."""
        if self._process is None:
            raise NotReady("the server was not started")
        self._process.terminate()
        return await self._process.wait()

    async def close(self) -> None:
        """Kill the process, and close the channel."""
        await self.kill()
        await self.channel.close()

    async def _watch(self, timeout_s: float) -> None:
        """Return when the server serves; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not await self._is_serving():  # noqa: ASYNC110 - another process signals no event
                await asyncio.sleep(_POLL_S)

    async def _is_serving(self) -> bool:
        """Check its health once; a channel that still leads to the killed process counts as not serving."""
        health: Any = health_pb2_grpc.HealthStub(self.channel)  # whose types are missing
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def free_port() -> int:
    """Return a free port of this machine outside the range that Linux gives to connections.

    Trap: while a server is down, a client that connects to a port of that range may be given the same port. It then
    connects to itself, and the port is taken when the server starts again.
    """
    while True:
        # Not the shared generator: code that seeds it would give every process the same port.
        port = random.SystemRandom().randint(*_PORTS)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


async def refuses_connections(port: int) -> None:
    """Wait until a port of this machine takes no connections.

    Trap: a server that stops may take a connection while it closes the port; gRPC then answers its calls CANCELLED.
    """
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        await asyncio.sleep(_POLL_S)
