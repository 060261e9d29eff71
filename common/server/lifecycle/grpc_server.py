"""A gRPC server on every address of its host, started again if gRPC itself ends it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import grpc

from common.process.endless_loop import repeat
from common.server.lifecycle.open_calls import CountedServer

_CHECK_S: Final = 0.2
Bind = Callable[[grpc.aio.Server, str], int]


class PortUnavailable(Exception):  # noqa: N818 - named for what it is
    """The server cannot listen on the address."""


class GrpcServer:
    """Makes, binds and starts a server; makes another on the same port if it ends without being told to.

    A call whose path is not UTF-8 ends the loop in which gRPC's Python server accepts calls, and with it the server
    (grpcio 1.85). Calls in progress are then cancelled, and callers connect again.

    Args:
        make: Returns a server with its services.
        bind: Adds a port ``host:port`` to a server and returns its number; raises RuntimeError.
        host: A name or address; a name listens on all its addresses.
        port: The port; 0 for a free one.
        flag: The flag that sets the port, for messages.

    Attributes:
        port: The port's number.

    Raises:
        PortUnavailable: An address cannot be used.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server], bind: Bind, host: str, port: int, flag: str) -> None:
        self._make = make
        self._bind = bind
        self._host = host
        self._flag = flag
        self._server: grpc.aio.Server | None = None
        self._counted: CountedServer | None = None
        self._watching: asyncio.Task[None] | None = None
        self.port = port
        self._server = self._listening()

    async def start(self) -> None:
        """Accept calls."""
        if self._server is not None:
            await self._server.start()
        self._watching = asyncio.create_task(repeat("grpc server", self._stay_up))

    def open_calls(self) -> int:
        """Return how many calls are open in gRPC, handed over or not yet."""
        return 0 if self._counted is None else self._counted.open_calls()

    async def stop(self, grace_s: float) -> None:
        """Accept no calls, and wait at most ``grace_s`` for those in progress before they are cancelled."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _stay_up(self) -> None:
        if self._server is None:
            server = self._listening()
            await server.start()
            self._server = server
        try:
            # Without a timeout, cancelling the wait would also cancel what the server waits for when it stops.
            await self._server.wait_for_termination(_CHECK_S)
        except Exception:
            ended, self._server = self._server, None
            await ended.stop(None)  # frees the port
            raise

    def _listening(self) -> grpc.aio.Server:
        self._counted = CountedServer(self._make)
        server = self._counted.server
        for address in _addresses(self._host):
            written = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
            try:
                self.port = self._bind(server, written)
            except RuntimeError as error:
                raise PortUnavailable(unavailable(written, self._flag)) from error
        return server


def unavailable(address: str, flag: str) -> str:
    """Return the message for an address that cannot be used."""
    return f"{address} cannot be used: it is taken or not an address of this machine; set another with {flag} or --host"


def _addresses(host: str) -> list[str]:
    """Return a host's addresses, without those of a family that this machine lacks.

    gRPC itself would listen on those that are free, and callers would reach one server or another.
    """
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return [host]  # gRPC refuses it with the right message
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    return [address for address in addresses if _is_ours(address)] or addresses


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
