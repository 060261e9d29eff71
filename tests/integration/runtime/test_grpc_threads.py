"""The threads of gRPC in our programs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_CONNECTS = """
import {first}
import asyncio
import grpc

async def connect():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel("127.0.0.1:%d" % port) as channel:
        await channel.channel_ready()
    await server.stop(0)

asyncio.run(connect())
"""
# What gRPC's trace says of every end of a connection that the event engine reads and writes.
_END = "EventEngine::Endpoint"
_MAINS = ("services.gateway", "services.retrieval", "services.ranking", "benchmarks")


@pytest.mark.parametrize("first", [f"{main}.__main__" for main in _MAINS])
def test_no_thread_stands_between_sockets_and_the_event_loop(first: str):
    """No program of ours has a connection on gRPC's event engine, on either end."""
    assert _END not in _trace(first)


def test_the_environment_goes_before():
    """The event engine of gRPC is used if it is requested."""
    assert _END in _trace("common", GRPC_EXPERIMENTS="event_engine_client,event_engine_listener")


def _trace(first: str, **environment: str) -> str:
    """Return gRPC's trace of a connection in a process that imports a module first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    traced = kept | {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "event_engine"} | environment
    command = [sys.executable, "-c", _CONNECTS.format(first=first)]
    return subprocess.run(  # noqa: S603 - our own interpreter and script
        command, env=traced, capture_output=True, text=True, check=True, timeout=60
    ).stderr
