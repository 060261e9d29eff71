"""Server processes: signals, ports in use, supervision."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.channel import open_channel
from services.program import LocalSettings, child_processes
from testing.server_process import free_port, refuses_connections

HERE = Path(__file__).parent
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Process = asyncio.subprocess.Process
Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SHORTLIST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def port() -> int:
    """Return a port that is free now."""
    return free_port()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return a function that starts a Python program with pipes; programs that still run after the test are killed."""
    processes: list[Process] = []

    async def begin(*command: str) -> Process:
        pipe = asyncio.subprocess.PIPE
        processes.append(await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe))
        return processes[-1]

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def watching(port: int) -> AsyncIterator[tuple[grpc.aio.Channel, Any]]:
    """Open a channel to a server that may start later, and the stream of its health."""
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        yield channel, aiter(stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True))


async def until(told: Any, status: int) -> None:
    """Read health until it is ``status``."""
    async for answer in told:
        if answer.status == status:
            return
    pytest.fail(f"the watch ended before the status was {status}")


def unending_call(channel: grpc.aio.Channel, folder: Path) -> Any:
    """Start a call that ends when the folder has the file `finish`."""
    stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
    return stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(folder)))


async def appearing(file: Path) -> None:
    """Wait until a file exists."""
    while not await asyncio.to_thread(file.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)


async def said_until(process: Process, line: str, times: int = 1) -> list[str]:
    """Read standard output until a line has appeared ``times`` times; returns all lines."""
    assert process.stdout is not None
    lines: list[str] = []
    while lines.count(line) < times:
        raw = await process.stdout.readline()
        assert raw, f"the output ended before {line!r} came {times} times: {lines}"
        lines.append(raw.decode().rstrip("\n"))
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_0(start: Start, port: int, tmp_path: Path, number: signal.Signals):
    """On SIGTERM or SIGINT health is NOT_SERVING, new calls are refused, the call in flight is answered, exit 0."""
    server = await start(str(HERE / "fake_server.py"), "--port", str(port))
    async with watching(port) as (channel, told):
        await until(told, SERVING)
        call = unending_call(channel, tmp_path)
        await appearing(tmp_path / "begun")
        server.send_signal(number)
        await until(told, NOT_SERVING)
        assert not call.done()
        await refuses_connections(port)
        async with open_channel(f"127.0.0.1:{port}") as late:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await unending_call(late, tmp_path)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        (tmp_path / "finish").touch()
        assert (await call).previous_release_id == "late"
    assert await server.wait() == 0


async def test_a_second_signal_ends_at_once(start: Start, port: int, tmp_path: Path):
    """The second signal ends a server that waits for a call."""
    server = await start(str(HERE / "fake_server.py"), "--port", str(port), "--drain-timeout-s", "3600")
    async with watching(port) as (channel, told):
        await until(told, SERVING)
        call = unending_call(channel, tmp_path)
        await appearing(tmp_path / "begun")
        server.terminate()
        await until(told, NOT_SERVING)
        server.terminate()
        assert await server.wait() == 128 + signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_signal_while_loading_exits_0(start: Start, port: int):
    """A server that is loading answers health checks, and ends on SIGTERM without waiting for the load."""
    server = await start(str(HERE / "fake_server.py"), "--port", str(port), "--release", "endless")
    async with watching(port) as (_, told):
        await until(told, NOT_SERVING)
        server.terminate()
        assert await server.wait() == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--port", "TAKEN"), "cannot be used: it is taken or not an address of this machine; set another with --port"),
        (("--metrics-port", "TAKEN"), "set another with --metrics-port or --host"),
        (("--release", "bad"), "cannot serve: release r1 is damaged: encoder/model.onnx was altered"),
    ],
)
async def test_a_server_that_cannot_serve_exits_1(start: Start, flags: tuple[str, ...], message: str):
    """A port in use and a bad release end the process with 1, and its last log line is the error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = tuple(str(taken.getsockname()[1]) if flag == "TAKEN" else flag for flag in flags)
        server = await start(str(HERE / "fake_server.py"), *flags)
        _, errors = await server.communicate()
    assert server.returncode == 1
    last = json.loads(errors.decode().splitlines()[-1])
    assert (last["level"], last["service"]) == ("error", "fake")
    assert message in last["event"]


async def test_children_are_announced_and_drained_in_order(start: Start):
    """Each child is printed when it is SERVING; on SIGTERM the last one drains first; the exit code is 0."""
    ports = [free_port(), free_port()]
    local = await start(str(HERE / "fake_local.py"), *(f"c{n}=127.0.0.1:{port}" for n, port in enumerate(ports)))
    async with AsyncExitStack() as stack:
        for port in ports:
            await until((await stack.enter_async_context(watching(port)))[1], SERVING)
        announced = sorted(f"c{n} is SERVING on 127.0.0.1:{port}" for n, port in enumerate(ports))
        seen: list[str] = []
        while sorted(seen) != announced:
            seen.append((await local.stdout.readline()).decode().strip())
        local.terminate()
        output, _ = await local.communicate()
    assert output.decode().splitlines() == ["c1 drained", "c0 drained"]
    assert local.returncode == 0


async def test_a_killed_child_is_healed(start: Start, port: int):
    """A killed child is started again and serves on the same port; its sibling is not restarted."""
    sibling = free_port()
    local = await start(str(HERE / "fake_local.py"), f"c0=127.0.0.1:{port}", f"c1=127.0.0.1:{sibling}")
    async with watching(sibling) as (_, told), watching(port) as (_, killed):
        await asyncio.gather(until(told, SERVING), until(killed, SERVING))
        serving = f"c0 is SERVING on 127.0.0.1:{port}"
        await said_until(local, serving)
        os.kill(process_on(local, port), signal.SIGKILL)
        lines = await said_until(local, serving)
        assert "c0 died (exit code -9) and will be restarted in 0.2 s" in lines
        local.terminate()
        assert [answer.status async for answer in told] == [NOT_SERVING]
    assert await local.wait() == 0


def listens(port: int) -> bool:
    """Return whether a process listens on a port."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def process_on(parent: Process, port: int) -> int:
    """Return the process id of the child of a port."""
    for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
        if f"\0{port}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError(f"no child listens on {port}")


async def test_a_child_that_cannot_start_ends_all(start: Start, port: int):
    """A child that ends before it served is not restarted: the others drain and the exit code is 1."""
    local = await start(
        str(HERE / "fake_local.py"), f"c0=127.0.0.1:{port}", f"c1=127.0.0.1:{free_port()}=--release bad"
    )
    output, errors = await local.communicate()
    assert local.returncode == 1
    assert "c1 could not start (exit code 1); see its log output above" in output.decode().splitlines()
    assert "encoder/model.onnx was altered" in errors.decode()
    assert not listens(port)


async def test_children_die_with_their_parent(start: Start, port: int):
    """If the supervisor is killed, its children end too and free their ports."""
    local = await start(str(HERE / "fake_local.py"), f"c0=127.0.0.1:{port}")
    async with watching(port) as (_, told):
        await until(told, SERVING)
        local.kill()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await until(told, NOT_SERVING)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    while listens(port):  # noqa: ASYNC110 - a dying process closes its sockets one by one
        await asyncio.sleep(0.01)


async def test_a_second_signal_kills_the_children(start: Start, port: int, tmp_path: Path):
    """The second signal kills a child that does not drain."""
    local = await start(str(HERE / "fake_local.py"), f"c0=127.0.0.1:{port}=--drain-timeout-s 3600")
    async with watching(port) as (channel, told):
        await until(told, SERVING)
        call = unending_call(channel, tmp_path)
        await appearing(tmp_path / "begun")
        local.terminate()
        await until(told, NOT_SERVING)
        local.terminate()
        assert await local.wait() == 128 + signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_the_local_programme_explains_itself(start: Start):
    """Help exits with 0 and lists every flag; a missing release exits with 2 and names the flag."""
    helped = await start("-m", "services", "--help")
    output, _ = await helped.communicate()
    assert helped.returncode == 0
    assert all(f"--{name.replace('_', '-')} " in output.decode() for name in LocalSettings.model_fields)
    refused = await start("-m", "services")
    _, errors = await refused.communicate()
    assert refused.returncode == 2
    assert "--release or SHORTLIST_LOCAL_RELEASE: Field required" in errors.decode()


async def test_the_local_programme_refuses_a_taken_port(start: Start):
    """A port in use is reported with its flag before anything is started, and the exit code is 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        local = await start("-m", "services", "--release", "x", "--gateway-port", port)
        output, errors = await local.communicate()
    assert (local.returncode, output) == (1, b"")
    assert errors.decode().startswith(f"python -m services: 127.0.0.1:{port} is taken")
    assert errors.decode().endswith("set another with --gateway-port or --host\n")


def test_the_gateway_is_told_where_the_others_are():
    """The servers get their ports, retrieval and ranking the release, and the gateway their addresses."""
    settings = LocalSettings(
        release="/r", gateway_port=0, retrieval_port=0, ranking_port=0, profiles=Path("/p.db"), data_dir=Path("/d")
    )
    retrieval, ranking, gateway = child_processes(settings)
    assert len({child.address for child in (retrieval, ranking, gateway)}) == 3
    assert [child.name for child in (retrieval, ranking, gateway)] == ["retrieval", "ranking", "gateway"]
    expected = ("--metrics-port", "9091", "--retrieval-target", retrieval.address, "--ranking-target", ranking.address)
    assert gateway.command[1:3] == ("-m", "services.gateway")
    assert gateway.command[-8:] == (*expected, "--profiles", "/p.db")
    assert retrieval.command[-4:] == ("--release", "/r", "--data-dir", "/d")
    assert ranking.command[-4:] == ("--release", "/r", "--retrieval-target", retrieval.address)


def test_ranking_reads_texts_from_the_stream_if_there_is_one(monkeypatch: pytest.MonkeyPatch):
    """With a change stream in the environment, ranking is not told to follow retrieval as well."""
    monkeypatch.setenv("SHORTLIST_RANKING_CHANGE_STREAM", "redis://127.0.0.1:6379/0")
    settings = LocalSettings(release="/r", gateway_port=0, retrieval_port=0, ranking_port=0)
    _, ranking, _ = child_processes(settings)
    assert ranking.command[-2:] == ("--release", "/r")
