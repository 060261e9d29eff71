"""The calls of a server that gRPC has, as its statistics say."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from common.server.lifecycle.open_calls import OPTION, CountedServer


async def test_open_calls_are_those_of_one_server():
    """A call counts while it is open; calls of another server, ended calls and refused ones do not."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: Any) -> bytes:
        begun.set()
        await finish.wait()
        return b""

    def make() -> grpc.aio.Server:
        server = grpc.aio.server(options=[OPTION, ("grpc.absolute_max_metadata_size", 1_000)])
        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(behaviour)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", handlers),))
        return server

    counted, other = CountedServer(make), CountedServer(make)
    port = counted.server.add_insecure_port("127.0.0.1:0")
    await counted.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/Test/Wait")
        assert await call(b"", metadata=(("x-n", "n" * 5_000),)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        waiting = call(b"")
        await begun.wait()
        while counted.open_calls() != 1:  # noqa: ASYNC110 - the refused call ends without an event
            await asyncio.sleep(0.001)
        assert other.open_calls() == 0
        finish.set()
        await waiting
        while counted.open_calls() != 0:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await counted.server.stop(0)
    await other.server.stop(0)


async def test_a_server_without_statistics_has_no_open_calls():
    """A server that was made without the option counts as one without calls."""
    counted = CountedServer(grpc.aio.server)
    assert counted.open_calls() == 0
    await counted.server.stop(0)
