"""Metrics and health of the services behind the gateway."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient

_STATE = 'shortlist_gateway_breaker_state{{address="{}",backend="ranking",state="{}"}} {}'


async def test_every_breaker_is_exported(backends: Backends, client: GatewayClient):
    """State, openings, refused calls and second tries are there from the start."""
    text = await client.metrics()
    address = backends.ranking_target
    assert _STATE.format(address, "closed", "1.0") in text
    assert _STATE.format(address, "open", "0.0") in text
    for name in ("opened", "refused", "probes"):
        assert f'shortlist_gateway_breaker_{name}_total{{address="{address}",backend="ranking"}} 0.0' in text
    for name, outcomes in (("second_tries", ("sent", "over_budget")), ("hedges", ("won", "lost"))):
        for outcome in outcomes:
            assert f'shortlist_gateway_{name}_total{{backend="retrieval",outcome="{outcome}"}} 0.0' in text


async def test_an_open_breaker_is_seen_in_metrics_and_health(backends: Backends, client: GatewayClient):
    """While ranking takes no call, its breaker is open, calls are refused, and its health is NOT_SERVING."""
    backends.ranking.status = grpc.StatusCode.UNAVAILABLE
    for _ in range(10):
        await client.recommend(limit=1)
    text = await client.metrics()
    address = backends.ranking_target
    assert _STATE.format(address, "closed", "0.0") in text
    assert f'breaker_opened_total{{address="{address}",backend="ranking"}} 0.0' not in text
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    ranking = await health.Check(health_pb2.HealthCheckRequest(service="ranking"))
    assert ranking.status == health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", "retrieval"):
        served = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert served.status == health_pb2.HealthCheckResponse.SERVING
