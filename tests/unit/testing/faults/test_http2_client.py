"""The client that speaks HTTP/2 by hand."""

from __future__ import annotations

from typing import Any

import grpc

from testing.faults.http2_client import Http2Client


async def test_a_call_arrives_with_its_bytes():
    """A method, odd metadata and a message of any length reach a gRPC server as they were given."""
    seen: list[Any] = []

    async def behaviour(request: bytes, context: Any) -> bytes:
        seen.append((len(request), dict(context.invocation_metadata())["x-odd"]))
        return request

    handlers = {"method": grpc.unary_unary_rpc_method_handler(behaviour)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = await Http2Client.connect(port)
    await client.ended(await client.call(b"/a.Service/method", b"x" * 1_000, [(b"x-odd", b"\xff" + b"y" * 300)]))
    await client.ended(await client.call(b"/a.Service/method", b"", [(b"x-odd", b"z")]))
    await client.close()
    await server.stop(None)
    assert seen == [(1_000, "ÿ" + "y" * 300), (0, "z")]
