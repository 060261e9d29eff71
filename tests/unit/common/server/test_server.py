"""A server's life: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from structlog.testing import capture_logs

from common.errors import BadRelease
from common.server.channel import open_channel
from common.server.server import PortUnavailable, run, running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.server_process import free_port

NAME = "shortlist.release.v1.ReleaseService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def health(channel: grpc.aio.Channel, name: str = "", **options: Any) -> int:
    """Return what the server says of a service."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), **options)).status)


async def test_health_is_told_for_the_server_and_each_service(calling: Any, fake_service: Any):
    """The empty name and each service's name are SERVING; any other is NOT_FOUND."""
    async with calling(fake_service()) as (_, channel):
        assert [await health(channel, name) for name in ("", NAME)] == [SERVING, SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await health(channel, "nothing")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_server_that_loads_answers_probes(fake_service: Any, metrics: Metrics):
    """While the service starts the server is reachable and NOT_SERVING, and SERVING once it started."""
    settings = ServerSettings(port=free_port(), metrics_port=0)
    loaded = asyncio.Event()
    service = fake_service()
    service.start = loaded.wait

    async def serve() -> int:
        async with running(service, settings, metrics), open_channel(f"127.0.0.1:{settings.port}") as channel:
            return await health(channel)

    async with open_channel(f"127.0.0.1:{settings.port}") as channel:
        serving = asyncio.create_task(serve())
        assert await health(channel, wait_for_ready=True) == NOT_SERVING
        loaded.set()
        assert await serving == SERVING


async def test_a_watcher_sees_the_drain_and_does_not_hold_it_up(
    fake_service: Any, metrics: Metrics, settings: ServerSettings
):
    """A watch is told SERVING and then NOT_SERVING, and ends, so that the drain need not wait for its timeout."""
    settings = settings.model_copy(update={"drain_timeout_s": 3600.0})
    async with running(fake_service(), settings, metrics) as server:
        channel = open_channel(f"127.0.0.1:{server.port}")
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in (NAME, "nothing")]
        told = [aiter(watch) for watch in watches]
        assert [(await anext(statuses)).status for statuses in told] == [SERVING, SERVICE_UNKNOWN]
    last = [[answer.status async for answer in statuses] for statuses in told]
    assert last == [[NOT_SERVING], []]
    assert [await watch.code() for watch in watches] == [grpc.StatusCode.OK] * 2
    await channel.close()


async def test_calls_in_flight_are_answered(fake_service: Any, metrics: Metrics, settings: ServerSettings):
    """A call that is under way when the server drains gets its answer, and the service is stopped after it."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: Any) -> release_pb2.ActivateReleaseResponse:
        begun.set()
        await finish.wait()
        service.seen.append("answered")
        return release_pb2.ActivateReleaseResponse(previous_release_id="late")

    service = fake_service(behaviour)
    async with running(service, settings, metrics) as server:
        channel = open_channel(f"127.0.0.1:{server.port}")
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        made = stub.ActivateRelease(release_pb2.ActivateReleaseRequest())
        health_stub: Any = health_pb2_grpc.HealthStub(channel)
        told = aiter(health_stub.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(told)).status == SERVING
        await begun.wait()
        finishing = asyncio.create_task(_set_once_over(told, finish))
    assert (await made).previous_release_id == "late"
    assert service.seen == ["started", "answered", "stopped"]
    await finishing
    await channel.close()


async def _set_once_over(told: Any, event: asyncio.Event) -> None:
    """Set an event when the server said NOT_SERVING and ended the watch."""
    assert [answer.status async for answer in told] == [NOT_SERVING]
    event.set()


async def test_a_drain_that_takes_too_long_is_cut_off(fake_service: Any, metrics: Metrics, settings: ServerSettings):
    """A call that does not end within the drain timeout is cancelled."""
    begun = asyncio.Event()

    async def behaviour(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    settings = settings.model_copy(update={"drain_timeout_s": 0.01})
    async with running(fake_service(behaviour), settings, metrics) as server:
        channel = open_channel(f"127.0.0.1:{server.port}")
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        made = stub.ActivateRelease(release_pb2.ActivateReleaseRequest())
        await begun.wait()
    assert await made.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    await channel.close()


@pytest.mark.parametrize("flag", ["port", "metrics_port"])
async def test_a_taken_port_is_named(fake_service: Any, metrics: Metrics, settings: ServerSettings, flag: str):
    """A port that another server has is refused with the address and the flag to change, and nothing is left open."""
    async with running(fake_service(), settings, metrics) as other:
        taken = settings.model_copy(update={flag: getattr(other, flag)})
        service = fake_service()
        with pytest.raises(
            PortUnavailable, match=rf"127\.0\.0\.1:{getattr(other, flag)} .*--{flag.replace('_', '-')} "
        ):
            async with running(service, taken, Metrics("test")):
                pass
    assert "started" not in service.seen


async def test_a_foreign_host_is_refused(fake_service: Any, metrics: Metrics):
    """An address that is not this machine's is refused."""
    with pytest.raises(PortUnavailable, match=r"192\.0\.2\.1"):
        async with running(
            fake_service(), ServerSettings(host="192.0.2.1", port=0, metrics_port=0, insecure=True), metrics
        ):
            pass


async def test_metrics_are_served_while_the_server_runs(calling: Any, fake_service: Any):
    """Prometheus finds the server's own metrics on its port, which is closed with the server."""
    async with calling(fake_service()) as (server, channel):
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        await health(channel)
        text = await asyncio.to_thread(_read, url)
    assert 'shortlist_test_requests_total{code="OK",method="/grpc.health.v1.Health/Check"} 1.0' in text
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(_read, url)


def _read(url: str) -> str:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - a loopback address
        return str(answer.read().decode())


async def test_large_messages_pass(calling: Any, fake_service: Any):
    """A request of 10 MiB, past gRPC's own bound of 4, is read."""

    async def behaviour(request: Any, _: Any) -> release_pb2.ActivateReleaseResponse:
        return release_pb2.ActivateReleaseResponse(previous_release_id=str(len(request.location)))

    async with calling(fake_service(behaviour)) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        answer = await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x" * (10 << 20)))
    assert answer.previous_release_id == str(10 << 20)


def test_a_service_that_cannot_start_ends_with_1(fake_service: Any, metrics: Metrics, settings: ServerSettings):
    """A bad release at the start is one clear log line, exit code 1, and the service is stopped."""

    async def start() -> None:
        raise BadRelease("release r1 is damaged: encoder/model.onnx was altered")

    service = fake_service()
    service.start = start
    with capture_logs() as logs:
        assert run(service, settings, metrics) == 1
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "cannot serve: release r1 is damaged: encoder/model.onnx was altered")
    ]
    assert service.seen == ["stopped"]
