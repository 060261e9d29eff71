"""Health: what a watch tells, and the port for probes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.channel import open_channel
from common.server.health import Dependencies, HealthService
from common.server.server import PortUnavailable, running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.security.certificates import Authority

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_watch_tells_each_change_once():
    """A watch tells the health it finds and each change after that, and ends when the server drains."""
    probes = HealthService(["a.Service"])
    watch = probes.Watch(health_pb2.HealthCheckRequest(service="a.Service"), None)
    told = [(await anext(watch)).status]
    await probes.set_serving()
    await probes.set_serving()
    told.append((await anext(watch)).status)
    await probes.drain()
    told += [answer.status async for answer in watch]
    assert told == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_a_watch_that_is_busy_still_learns_of_the_drain():
    """A drain that comes while a watch is sending is told next; a watch that begins after it is told once."""
    probes = HealthService([])
    await probes.set_serving()
    watch = probes.Watch(health_pb2.HealthCheckRequest(), None)
    assert (await anext(watch)).status == SERVING
    await probes.drain()
    assert [answer.status async for answer in watch] == [NOT_SERVING]
    late = probes.Watch(health_pb2.HealthCheckRequest(), None)
    assert [answer.status async for answer in late] == [NOT_SERVING]


async def test_a_lost_device_ends_serving_for_good():
    """Reported from any thread, it makes every name NOT_SERVING, and no later report takes it back."""
    dependencies = Dependencies(["release"])
    probes = HealthService(["a.Service"], dependencies)
    await probes.set_serving()
    watch = probes.Watch(health_pb2.HealthCheckRequest(), None)
    told = [(await anext(watch)).status]
    await asyncio.to_thread(dependencies.device_lost_reporter(), RuntimeError("the GPU is lost"))
    told.append((await anext(watch)).status)
    assert told == [SERVING, NOT_SERVING]
    dependencies.set_answers("release", answers=True)
    for name in ("", "a.Service", "release"):
        check = health_pb2.HealthCheckRequest(service=name)
        assert (await probes.Check(check, None)).status == NOT_SERVING


async def test_a_dependency_has_a_health_of_its_own():
    """A service that does not answer is NOT_SERVING under its name; the server itself goes on serving."""
    dependencies = Dependencies(["ranking"])
    probes = HealthService(["a.Service"], dependencies)
    await probes.set_serving()
    watch = probes.Watch(health_pb2.HealthCheckRequest(service="ranking"), None)
    told = [(await anext(watch)).status]
    dependencies.set_answers("ranking", answers=False)
    told.append((await anext(watch)).status)
    assert (await probes.Check(health_pb2.HealthCheckRequest(), None)).status == SERVING
    dependencies.set_answers("ranking", answers=True)
    told.append((await anext(watch)).status)
    assert told == [SERVING, NOT_SERVING, SERVING]
    await probes.drain()


async def _health(channel: grpc.aio.Channel) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)).status)


async def test_probes_without_tls_have_a_port_of_their_own(fake_service: Any, tmp_path: Path):
    """It answers health in the clear while the main port asks for certificates, and serves nothing else."""
    authority = Authority(tmp_path)
    files = authority.issue("server")
    settings = ServerSettings(
        port=0,
        metrics_port=0,
        health_port=0,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=authority.file,
    )
    async with (
        running(fake_service(), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.health_port}") as channel,
    ):
        assert await _health(channel) == SERVING
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetRelease(release_pb2.GetReleaseRequest(), timeout=30)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_taken_health_port_is_told(fake_service: Any):
    """The message names the flag."""
    async with running(
        fake_service(), ServerSettings(port=0, metrics_port=0, health_port=0), Metrics("test")
    ) as server:
        settings = ServerSettings(port=0, metrics_port=0, health_port=server.health_port)
        with pytest.raises(PortUnavailable, match="--health-port"):
            async with running(fake_service(), settings, Metrics("test")):
                pass


async def test_a_server_takes_calls_while_load_balancers_notice(fake_service: Any):
    """With a drain delay it is NOT_SERVING first, goes on to answer, and then stops."""

    async def behaviour(*_: Any) -> None:
        return None

    settings = ServerSettings(port=0, metrics_port=0, drain_delay_s=1.0)
    serving = running(fake_service(behaviour), settings, Metrics("test"))
    server = await serving.__aenter__()
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        assert await _health(channel) == SERVING
        ending = asyncio.create_task(serving.__aexit__(None, None, None))
        while await _health(channel) == SERVING:
            pass
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), timeout=30)
        assert not ending.done()
        await ending
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), timeout=0.2)


async def test_connections_end_without_failing_a_call(fake_service: Any):
    """A client finds new replicas when its connection ends; calls go on over the next one."""
    peers: set[str] = set()

    async def behaviour(_: Any, context: Any) -> None:
        peers.add(context.peer())

    settings = ServerSettings(port=0, metrics_port=0, max_connection_age_s=0.1)
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
        asyncio.timeout(60),
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        while len(peers) < 3:
            await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), timeout=30)


async def test_every_name_is_listed():
    """The list has the health of the server, of each service and of each dependency."""
    dependencies = Dependencies(["ranking"])
    probes = HealthService(["a.Service"], dependencies)
    await probes.set_serving()
    dependencies.set_answers("ranking", answers=False)
    listed = await probes.List(health_pb2.HealthListRequest(), None)
    assert {name: answer.status for name, answer in listed.statuses.items()} == {
        "": SERVING,
        "a.Service": SERVING,
        "ranking": NOT_SERVING,
    }
