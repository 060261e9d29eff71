"""Calls over several gateways through Envoy: nothing is lost when one goes, and a new one is used."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.channel import open_channel

pytestmark = pytest.mark.asyncio(loop_scope="session")
CALLS, AT_ONCE, TIMEOUT_S = 240, 8, 30
FIRST, SECOND = "127.0.1.1", "127.0.1.2"


async def _codes(port: int, at_half: Callable[[], Awaitable[None]]) -> Counter[str]:
    """Call many times, some at once, and do something when half of the calls are made."""
    codes: Counter[str] = Counter()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        numbers = iter(range(CALLS))

        async def caller() -> None:
            for number in numbers:
                if number == CALLS // 2:
                    await at_half()
                call = stub.Recommend(gateway_pb2.RecommendRequest(limit=2), timeout=TIMEOUT_S)
                codes[(await call.code()).name] += 1

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return codes


async def _hosts(envoy: Any) -> dict[str, Any]:
    """Return Envoy's view of the gateways by address."""
    url = f"http://127.0.0.1:{envoy.admin_port}/clusters?format=json"
    content = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))
    (cluster,) = (one for one in content["cluster_statuses"] if one["name"] == "gateway")
    return {one["address"]["socket_address"]["address"]: one for one in cluster.get("host_statuses", [])}


async def _calls_of(envoy: Any) -> dict[str, int]:
    hosts = await _hosts(envoy)
    totals = {
        address: {one["name"]: int(one.get("value", 0)) for one in host["stats"]} for address, host in hosts.items()
    }
    return {address: found["rq_total"] for address, found in totals.items()}


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - another process signals no event
            await asyncio.sleep(0.05)


async def _nothing() -> None:
    pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_a_gateway_that_goes_loses_nothing(new_fleet: Callable[[], Any], number: signal.Signals):
    """Calls under way on a gateway that is killed are made again elsewhere, and so are those it refuses."""
    async with new_fleet() as fleet:
        for gateway in [await fleet.add_gateway(address) for address in (FIRST, SECOND)]:
            await gateway.serving()
        envoy = await fleet.add_envoy()

        async def end_one() -> None:
            fleet.gateways[FIRST].signal(number)

        codes = await _codes(envoy.port, end_one)
        assert codes == {"OK": CALLS}


async def test_a_gateway_that_is_added_is_used(new_fleet: Callable[[], Any]):
    """DNS and health checks find it. Its share depends on its pace: `python -m benchmarks rolling` measures it."""
    async with new_fleet() as fleet:
        gateway = await fleet.add_gateway(FIRST)
        await gateway.serving()
        envoy = await fleet.add_envoy()
        assert await _codes(envoy.port, _nothing) == {"OK": CALLS}
        await fleet.add_gateway(SECOND)

        async def is_healthy() -> bool:
            host = (await _hosts(envoy)).get(SECOND, {"health_status": {"failed_active_health_check": True}})
            return not host["health_status"].get("failed_active_health_check")

        await _until(is_healthy)
        before = await _calls_of(envoy)
        assert await _codes(envoy.port, _nothing) == {"OK": CALLS}
        after = await _calls_of(envoy)
        assert after[SECOND] > before[SECOND]


async def test_without_a_gateway_envoy_is_not_ready(new_fleet: Callable[[], Any]):
    """Its readiness is that of the gateways, its liveness is its own, and calls are UNAVAILABLE."""
    async with new_fleet() as fleet:
        gateway = await fleet.add_gateway(FIRST)
        await gateway.serving()
        envoy = await fleet.add_envoy()
        await gateway.kill()

        async def is_unready() -> bool:
            return bool(await envoy.get("/ready") == 503)

        await _until(is_unready)
        assert await envoy.get("/live") == 200
        async with open_channel(f"127.0.0.1:{envoy.port}") as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            call = stub.Recommend(gateway_pb2.RecommendRequest(), timeout=TIMEOUT_S)
            assert await call.code() == grpc.StatusCode.UNAVAILABLE


async def test_calls_above_the_rate_are_refused(fleet: Any, http_call: Callable[..., Awaitable[Any]]):
    """As RESOURCE_EXHAUSTED by gRPC, as 429 in JSON; one of sixty at once is admitted, and one more a second."""
    envoy = await fleet.add_envoy({"edge": {"rateLimit": {"requestsPerSecond": 1, "burst": 1}}})
    codes = await _codes(envoy.port, _nothing)
    assert codes["RESOURCE_EXHAUSTED"] > CALLS // 2
    assert codes.keys() <= {"OK", "RESOURCE_EXHAUSTED"}
    answers = await asyncio.gather(*(http_call(envoy.port, "POST", "/v1/recommend", {}) for _ in range(20)))
    assert 429 in {answer.status for answer in answers}
