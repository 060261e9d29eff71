"""Channels to other servers."""

from __future__ import annotations

import asyncio
import gc
import math
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import NotFound
from common.server import channel as channels
from common.server.channel import answer_of, open_channel, remaining_s
from common.server.event_loop import uninterrupted
from common.server.server import running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.faults.tcp_proxy import TcpProxy


async def test_a_restarted_peer_is_used_again(fake_service: Any, settings: ServerSettings):
    """Calls fail at once with UNAVAILABLE while the peer is down, and the same channel reaches it after its return."""

    async def behaviour(*_: Any) -> None:
        return None

    request = release_pb2.ActivateReleaseRequest()
    async with running(fake_service(behaviour), settings, Metrics("test")) as server:
        channel = open_channel(f"127.0.0.1:{server.port}")
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        await stub.ActivateRelease(request)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ActivateRelease(request)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    again = settings.model_copy(update={"port": server.port})
    async with running(fake_service(behaviour), again, Metrics("test")):
        await stub.ActivateRelease(request, wait_for_ready=True, timeout=30)
        await channel.close()


async def test_a_proxy_of_the_environment_is_not_used(
    fake_service: Any, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
):
    """With proxies set that do not exist, a channel reaches its server directly."""

    async def behaviour(*_: Any) -> None:
        return None

    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), timeout=30)


async def test_a_call_ends_with_the_task_that_waits_for_it(fake_service: Any, settings: ServerSettings):
    """If the task is cancelled, the server sees its call cancelled too, and other calls are answered."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def behaviour(request: Any, _: Any) -> None:
        if request.location:
            raise NotFound("no such release")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    metrics = Metrics("test")
    async with (
        running(fake_service(behaviour), settings, metrics) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        waiting = asyncio.create_task(answer_of(stub.ActivateRelease(release_pb2.ActivateReleaseRequest())))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await ended.wait()
        with pytest.raises(grpc.aio.AioRpcError, match="no such release"):
            await answer_of(stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x")))
    labels = {"method": "/shortlist.release.v1.ReleaseService/ActivateRelease", "code": "CANCELLED"}
    assert metrics.registry.get_sample_value("shortlist_test_requests_total", labels) == 1


@pytest.mark.parametrize(
    ("deadline_s", "max_s", "expected"),
    # gRPC sends a deadline rounded up: of ten seconds and more to a tenth of a second.
    [(None, math.inf, (math.inf, math.inf)), (None, 2, (2, 2)), (50, 2, (2, 2)), (50, math.inf, (1, 50.1))],
)
async def test_the_time_that_remains_is_the_callers_deadline(
    calling: Any, fake_service: Any, deadline_s: float | None, max_s: float, expected: tuple[float, float]
):
    """What remains is the caller's deadline, bounded by the server's own; without both there is no end."""
    seen: list[float] = []

    async def behaviour(_: Any, context: Any) -> None:
        seen.append(remaining_s(context, max_s))

    async with calling(fake_service(behaviour)) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), timeout=deadline_s)
    assert expected[0] <= seen[0] <= expected[1]


def test_no_less_than_nothing_remains():
    """A deadline that has passed leaves 0 seconds, not a negative number."""

    class Past:
        def time_remaining(self) -> float:
            return -1.0

    assert remaining_s(Past()) == 0.0


async def test_a_peer_that_hangs_is_noticed(fake_service: Any, settings: ServerSettings):
    """A call without a deadline, to a peer whose connection hangs, fails once a ping is not answered: within 10 s."""

    async def behaviour(*_: Any) -> None:
        await asyncio.Event().wait()

    options: dict[str, Any] = dict(channels._OPTIONS)
    assert options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 10_000
    async with (
        running(fake_service(behaviour), settings.model_copy(update={"drain_timeout_s": 0}), Metrics("test")) as server,
        TcpProxy(server.port) as proxy,
        open_channel(proxy.address) as connection,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(connection)
        call = stub.ActivateRelease(release_pb2.ActivateReleaseRequest())
        await connection.channel_ready()
        proxy.stall()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_an_operation_goes_on_when_its_task_is_cancelled():
    """The task ends at once; the operation is not interrupted, and its late error goes nowhere."""
    seen: list[str] = []
    goes_on = asyncio.Event()

    async def operation() -> None:
        try:
            await goes_on.wait()
        except asyncio.CancelledError:
            seen.append("interrupted")
            raise
        seen.append("ended")
        raise ValueError("too late")

    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    waiting = asyncio.create_task(uninterrupted(operation()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == []
    goes_on.set()
    while not seen:  # noqa: ASYNC110 - the operation has no event
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert (seen, unhandled) == (["ended"], [])


async def test_results_and_errors_pass():
    """An operation's result is returned, and its error raised."""

    async def result() -> int:
        return 7

    async def error() -> int:
        raise KeyError("no")

    assert await uninterrupted(result()) == 7
    with pytest.raises(KeyError):
        await uninterrupted(error())
