"""Gateways that share profiles in a real Redis, and what they answer without it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError
from shortlist.gateway.v1 import gateway_pb2

from services.gateway.profiles.profile_store import BadProfileStore
from services.gateway.settings import Settings
from testing.gateway_client import GatewayClient, degradation_kinds, running_gateway
from testing.redis_server import RedisServer

MakeSettings = Callable[..., Settings]
_EVENT = gateway_pb2.Event(event_id="1", user_id="ann", kind=gateway_pb2.EVENT_KIND_PURCHASE, item_id="item-3")

_UNSEEN = gateway_pb2.Policy(exclude_history=True)


@pytest.fixture
def shared(gateway_settings: MakeSettings, redis: RedisServer, tmp_path: Path) -> Settings:
    """Return the settings of gateways with profiles in Redis."""
    return gateway_settings(
        profiles=f"redis://127.0.0.1:{redis.port}/0", pseudonym_key_file=tmp_path / "key", default_timeout_s=10
    )


async def _health(client: GatewayClient) -> int:
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    return int((await health.Check(health_pb2.HealthCheckRequest(service="profiles"))).status)


async def test_an_event_shapes_the_next_answer_of_every_gateway(shared: Settings):
    """Recorded by one, it is left out by the other; forgotten by the other, it is back."""
    async with running_gateway(shared) as one, running_gateway(shared) as other:
        await one.record_events(_EVENT)
        for client in (one, other):
            answer = await client.recommend(user_id="ann", limit=40, policy=_UNSEEN)
            assert "item-3" not in [item.item_id for item in answer.items]
            assert not answer.degradations
        await other.recommendations.ForgetUser(gateway_pb2.ForgetUserRequest(user_id="ann"))
        answer = await one.recommend(user_id="ann", limit=40, policy=_UNSEEN)
        assert "item-3" in [item.item_id for item in answer.items]


async def test_without_redis_answers_have_no_profile(shared: Settings, redis: RedisServer):
    """They say so, the breaker opens and is seen in metrics and health, and closes when Redis is back."""
    async with running_gateway(shared) as client:
        await client.record_events(_EVENT)
        assert await _health(client) == health_pb2.HealthCheckResponse.SERVING
        redis.signal(signal.SIGKILL)
        for _ in range(6):
            answer = await client.recommend(user_id="ann", limit=5)
            assert degradation_kinds(answer) == ["PROFILE_UNAVAILABLE"]
            assert len(answer.items) == 5
        assert "not called" in answer.degradations[0].detail
        assert await _health(client) == health_pb2.HealthCheckResponse.NOT_SERVING
        text = await client.metrics()
        assert 'shortlist_gateway_degradations_total{kind="PROFILE_UNAVAILABLE"} 6.0' in text
        assert f'address="shortlist-profiles at 127.0.0.1:{redis.port}",backend="profiles",state="closed"}} 0.0' in text
        await asyncio.to_thread(redis.start)
        async with asyncio.timeout(60):
            while degradation_kinds(answer):
                answer = await client.recommend(user_id="ann", limit=40, policy=_UNSEEN)
        assert "item-3" not in [item.item_id for item in answer.items]


async def test_a_gateway_starts_without_redis(shared: Settings, redis: RedisServer):
    """It answers without profiles and rules, says so, and uses them once Redis is there."""
    redis.signal(signal.SIGKILL)
    async with running_gateway(shared) as client:
        degradations = degradation_kinds(await client.recommend(user_id="ann", limit=5))
        assert degradations == ["RULES_NOT_APPLIED", "PROFILE_UNAVAILABLE"]
        await asyncio.to_thread(redis.start)
        assert degradation_kinds(await client.recommend(user_id="ann", limit=5)) == []


async def test_a_gateway_does_not_start_on_a_redis_that_loses_events(shared: Settings, redis: RedisServer):
    """Events would be acknowledged and lost."""
    redis.client.config_set("appendfsync", "everysec")
    try:
        with pytest.raises(BadProfileStore, match="appendfsync"):
            async with running_gateway(shared):
                pass
    finally:
        redis.client.config_set("appendfsync", "always")


@pytest.mark.parametrize("address", ["redis://db/0", "redis://db/0?durability=never", "http://db"])
def test_wrong_addresses_are_refused(gateway_settings: MakeSettings, address: str):
    """Also one without the key that all gateways need."""
    with pytest.raises(ValidationError, match=r"pseudonym-key-file|durability=never|scheme"):
        gateway_settings(profiles=address)
