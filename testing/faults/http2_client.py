"""A client that speaks HTTP/2 by hand, to send what no gRPC library sends: odd bytes, and windows that stay shut."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING = 0, 1, 3, 4, 6
_CANCEL: Final = 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE: Final = 4
_MAX_SHORT_LENGTH: Final = 127  # HPACK writes longer ones in several bytes


class Http2Client:
    """One connection; calls have odd stream numbers from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_stream = 1

    @classmethod
    async def connect(cls, port: int, window: int = 65_535) -> Http2Client:
        """Connect to a server on loopback, with the initial window of the answers' bytes."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client._writer.write(_PREFACE)
        client._send(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, window))
        return client

    async def call(self, path: bytes, message: bytes | None, metadata: Iterable[tuple[bytes, bytes]] = ()) -> int:
        """Start a call, and send its message unless it is None; returns the stream."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"test")]
        fields += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *metadata]
        self._send(
            _HEADERS, _END_HEADERS, stream, b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        )
        if message is not None:
            self._send(_DATA, _END_STREAM, stream, struct.pack(">BI", 0, len(message)) + message)
        await self._writer.drain()
        return stream

    def reset(self, stream: int) -> None:
        """Cancel a call."""
        self._send(_RESET, 0, stream, struct.pack(">I", _CANCEL))

    async def answers_ping(self) -> None:
        """Send a ping and read until it is answered: the server has then read all that was sent before."""
        self._send(_PING, 0, 0, bytes(8))
        while True:
            kind, flags, _, _ = await self._read()
            if kind == _PING and flags & _ACK:
                return

    async def ended(self, stream: int) -> None:
        """Read until a stream has ended."""
        while True:
            kind, flags, number, payload = await self._read()
            if kind == _SETTINGS and not flags & _ACK:
                self._send(_SETTINGS, _ACK, 0, b"")
            elif kind == _PING and not flags & _ACK:
                self._send(_PING, _ACK, 0, payload)
            elif number == stream and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                return

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    async def _read(self) -> tuple[int, int, int, bytes]:
        head = await self._reader.readexactly(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, await self._reader.readexactly(int.from_bytes(head[:3]))


def _text(value: bytes) -> bytes:
    """Return a string of HPACK, not compressed."""
    if len(value) < _MAX_SHORT_LENGTH:
        return bytes([len(value)]) + value
    rest, length = len(value) - _MAX_SHORT_LENGTH, bytearray([_MAX_SHORT_LENGTH])
    while rest > 127:  # noqa: PLR2004 - seven bits at a time
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + value
