"""Servers that the playground starts itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.errors import NotReady
from services.playground.servers.local_servers import LocalServers
from services.playground.servers.state import Servers
from services.supervisor import ChildProcess
from testing.server_process import free_port

PROGRAM = Path(__file__).parents[4] / "integration" / "runtime" / "fake_server.py"


def _child(name: str, *flags: str) -> ChildProcess:
    port = free_port()
    return ChildProcess(name, (sys.executable, str(PROGRAM), "--port", str(port), *flags), f"127.0.0.1:{port}")


async def test_a_server_is_stopped_and_started_alone():
    """A stopped server stays stopped while the other runs on, and serves again after a start."""
    servers = LocalServers([_child("retrieval"), _child("ranking")])
    states = Servers(servers.targets, {})
    try:
        await servers.start_all()
        await servers.await_serving()
        await servers.stop("ranking")
        health = {state["name"]: state["health"] for state in await states.states()}
        assert health == {"retrieval": "serving", "ranking": "unreachable"}
        assert (servers.is_running("retrieval"), servers.is_running("ranking")) == (True, False)
        await servers.start("ranking")
        await servers.start("ranking")  # it runs: nothing changes
        await servers.await_serving()
        assert servers.is_running("ranking")
        with pytest.raises(KeyError):
            await servers.stop("gateway")
    finally:
        await servers.close()
        await states.close()
    assert not servers.is_running("retrieval")


async def test_a_server_that_cannot_start_is_an_error():
    """Its name is in the message."""
    servers = LocalServers([_child("ranking", "--release", "bad")])
    await servers.start_all()
    with pytest.raises(NotReady, match="ranking could not start"):
        await servers.await_serving()
    await servers.close()
