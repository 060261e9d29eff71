"""``python -m testing.grpc_connection MODULE``: imports a module, then opens a gRPC connection to itself."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def _connect(grpc: Any) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
    await server.stop(0)


def main() -> None:
    """Import the module before gRPC, which reads its environment once, at its import."""
    importlib.import_module(sys.argv[1])
    asyncio.run(_connect(importlib.import_module("grpc")))


if __name__ == "__main__":
    main()
