"""The DNS server of tests: what gRPC's own resolver finds."""

from __future__ import annotations

import struct

import grpc
import pytest

from testing.edge.name_server import NameServer
from testing.server_process import free_port

_QUESTION = struct.Struct(">2H")
A, AAAA = 1, 28


def _question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + _QUESTION.pack(kind, 1)


def _records(answer: bytes) -> tuple[int, list[str]]:
    """Return the code of an answer and its addresses."""
    _, flags, _, count, _, _ = struct.unpack_from(">6H", answer)
    tail = answer[len(answer) - 16 * count :] if count else b""
    return flags & 0xF, [".".join(map(str, tail[16 * at + 12 : 16 * at + 16])) for at in range(count)]


def test_a_name_has_its_addresses():
    """Whatever the case of the question, and only addresses of IPv4."""
    server = NameServer()
    server.addresses["shop.test"] = ["127.0.1.1", "127.0.1.2"]
    assert _records(server.answer(_question("Shop.test", A))) == (0, ["127.0.1.1", "127.0.1.2"])
    assert _records(server.answer(_question("shop.test", AAAA))) == (0, [])
    assert _records(server.answer(_question("other.test", A))) == (3, [])


@pytest.mark.parametrize("address", ["127.0.1.1", "127.0.1.2"])
async def test_grpc_calls_the_address(address: str):
    """The target's name leads gRPC to the address, where nothing listens."""
    port = free_port()
    async with NameServer() as server:
        server.addresses["shop.test"] = [address]
        async with grpc.aio.insecure_channel(server.target("shop.test", port)) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match=f"{address}:{port}"):
                await channel.unary_unary("/any/Method")(b"", timeout=20)
