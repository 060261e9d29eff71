"""Servers and their supervisor go on whatever becomes of their standard streams."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.server.channel import open_channel
from testing.server_process import free_port

HERE = Path(__file__).parent
SERVING = health_pb2.HealthCheckResponse.SERVING
# Each call writes a line of 300 bytes; a pipe holds 64 KiB.
CALLS = 600


@asynccontextmanager
async def running(*command: str, **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program while the body runs; it is killed if it is left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment, **streams)
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def health(channel: grpc.aio.Channel) -> int:
    """Return the health of a server, once it can be reached."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)).status)


async def serving(channel: grpc.aio.Channel) -> None:
    """Return once a server serves."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    async for answer in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
        if answer.status == SERVING:
            return


async def test_a_log_that_nobody_reads_costs_lines_only():
    """With standard error a pipe that nobody reads, calls and health are answered, and SIGTERM drains with 0."""
    port, (read, write) = free_port(), os.pipe()
    async with (
        running(str(HERE / "fake_server.py"), "--port", str(port), stderr=write) as server,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        os.close(write)
        await serving(channel)
        call = channel.unary_unary("/shortlist.release.v1.ReleaseService/Nothing" + "x" * 100)
        for _ in range(CALLS):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"", timeout=10)
        assert await health(channel) == SERVING
        server.terminate()
        assert await server.wait() == 0
    os.close(read)


@pytest.mark.parametrize("stdout", ["broken", "full"])
async def test_the_supervisor_outlives_its_output(stdout: str):
    """With its output gone or full, the supervisor restarts a killed child, drains on SIGTERM and exits 0."""
    port, (read, write) = free_port(), os.pipe()
    os.close(read)
    full = os.open("/dev/full", os.O_WRONLY)
    flags = f"c0=127.0.0.1:{port}=--log-level debug"
    streams = {"stdout": write if stdout == "broken" else full, "stderr": asyncio.subprocess.PIPE}
    async with running(str(HERE / "fake_local.py"), flags, **streams) as supervisor:
        for descriptor in (write, full):
            os.close(descriptor)
        await seen_serving(supervisor)
        (child,) = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()  # noqa: ASYNC240 - not a disk
        os.kill(int(child), signal.SIGKILL)
        await seen_serving(supervisor)
        supervisor.terminate()
        await supervisor.communicate()
        assert supervisor.returncode == 0


async def seen_serving(supervisor: asyncio.subprocess.Process) -> None:
    """Return once the supervisor has seen its child SERVING: the child logs the end of the supervisor's watch."""
    assert supervisor.stderr is not None
    async for line in supervisor.stderr:
        if b"Health/Watch" in line:
            return


async def test_everything_closed_is_no_reason_not_to_drain():
    """With all standard streams closed, supervisor and child serve, and SIGTERM ends them with 0."""
    port = free_port()
    launch = "import os, sys; os.closerange(0, 3); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    async with (
        running("-c", launch, str(HERE / "fake_local.py"), f"c0=127.0.0.1:{port}") as supervisor,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await serving(channel)
        supervisor.terminate()
        assert await supervisor.wait() == 0
