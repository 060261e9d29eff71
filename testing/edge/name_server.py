"""A DNS server on the loopback interface: names whose addresses a test changes, as Kubernetes does with its pods'."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from types import TracebackType
from typing import Any, Final, Self

# RFC 1035, section 4.1: the header has six fields of two bytes.
_HEADER: Final = struct.Struct(">6H")
_ANSWER: Final = 0x8480  # a response, authoritative, with recursion available
_NO_SUCH_NAME: Final = 3
_TYPE_A: Final = 1
_CLASS_IN: Final = 1
_POINTER_TO_QUESTION: Final = 0xC000 | _HEADER.size


class NameServer:
    """Answers questions for IPv4 addresses; used as an async context manager.

    Attributes:
        addresses: The addresses of each name; a name without any does not exist.
        port: Its UDP port on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), ("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    def target(self, name: str, port: int) -> str:
        """Return a gRPC target that asks this server for a name."""
        return f"dns://127.0.0.1:{self.port}/{name}:{port}"

    def answer(self, question: bytes) -> bytes:
        """Return the answer to a question; other types than A have no addresses."""
        identifier, _, _, _, _, _ = _HEADER.unpack_from(question)
        name, behind = _name(question)
        kind, _ = struct.unpack_from(">2H", question, behind)
        known = self.addresses.get(name, [])
        found = known if kind == _TYPE_A else []
        flags = _ANSWER if known else _ANSWER | _NO_SUCH_NAME
        records = [
            struct.pack(">3HIH", _POINTER_TO_QUESTION, _TYPE_A, _CLASS_IN, 0, 4) + ipaddress.IPv4Address(one).packed
            for one in found
        ]
        return (
            _HEADER.pack(identifier, flags, 1, len(records), 0, 0)
            + question[_HEADER.size : behind + 4]
            + b"".join(records)
        )


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._server.answer(data), addr)


def _name(question: bytes) -> tuple[str, int]:
    """Return the name that is asked for, in lower case, and the position behind it."""
    labels = []
    at = _HEADER.size
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return ".".join(labels), at + 1
