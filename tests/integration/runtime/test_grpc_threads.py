"""Which threads gRPC has in our programs."""

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
    """In no program of ours does gRPC's event engine have a connection, on either end."""
    assert _END not in _trace(first)


def test_the_environment_goes_before():
    """Who wants gRPC's event engine, says so."""
    assert _END in _trace("common", GRPC_EXPERIMENTS="event_engine_client,event_engine_listener")


def _trace(first: str, **environment: str) -> str:
    """Return what gRPC traces of a connection made in a process that imports something first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    traced = kept | {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "event_engine"} | environment
    command = [sys.executable, "-c", _CONNECTS.format(first=first)]
    return subprocess.run(  # noqa: S603 - our own interpreter and script
        command, env=traced, capture_output=True, text=True, check=True, timeout=60
    ).stderr
