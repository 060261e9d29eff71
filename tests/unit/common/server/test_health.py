"""Health, watched without a wire in between."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from common.server.health import Dependencies, HealthService

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
