"""Degradations and errors of the gateway's RPC methods."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, degradation_kinds, item_ids, running_gateway

MakeSettings = Callable[..., Settings]
_VIEW = gateway_pb2.Event(event_id="1", user_id="ann", kind=gateway_pb2.EVENT_KIND_VIEW, item_id="item-3")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INTERNAL, "RANKING_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "RANKING_TOO_SLOW"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RANKING_OVERLOADED"),
    ],
)
async def test_failures_of_ranking_are_named(
    backends: Backends, client: GatewayClient, status: grpc.StatusCode, kind: str
):
    """Each failure of ranking is a degradation of its kind in the answer and in the metrics."""
    backends.ranking.status = status
    response = await client.recommend(limit=1)
    assert degradation_kinds(response) == [kind]
    assert item_ids(response) == ["item-0"]
    page = await client.metrics()
    assert f'shortlist_gateway_degradations_total{{kind="{kind}"}} 1.0' in page
    assert "shortlist_gateway_degraded_recommendations_total 1.0" in page


async def test_slow_ranking_is_not_awaited(backends: Backends, client: GatewayClient):
    """Slow ranking costs the caller the order, not the answer."""
    backends.ranking.delay_s = 30.0
    response = await client.recommend(timeout_s=3.0)
    assert degradation_kinds(response) == ["RANKING_TOO_SLOW"]
    assert len(response.items) == 10


async def test_slow_retrieval_leaves_time_for_ranking(backends: Backends, client: GatewayClient):
    """Slow retrieval uses only its share of the time: popular items are ranked in the rest."""
    backends.retrieval.delay_s = 30.0
    response = await client.recommend(timeout_s=3.0)
    assert degradation_kinds(response) == ["RETRIEVAL_UNAVAILABLE"]
    assert response.items[0].HasField("probability")


async def test_a_broken_profile_store_is_named(backends: Backends, gateway_settings: MakeSettings, tmp_path: Path):
    """Without profiles the answer uses the request alone, and RecordEvents is UNAVAILABLE."""
    async with running_gateway(gateway_settings()) as client:
        _drop_events(tmp_path / "profiles.db")
        response = await client.recommend(user_id="ann", history_item_ids=["mine"])
        assert degradation_kinds(response) == ["PROFILE_UNAVAILABLE"]
        assert list(backends.ranking.requests[-1].user.history_item_ids) == ["mine"]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.record_events(_VIEW)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_filter_on_an_unknown_attribute_is_the_callers_mistake(client: GatewayClient):
    """Retrieval's message on the caller's filter is passed on to the caller."""
    unknown = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="colour", values=["red"]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.recommend(filter=unknown)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "filter.match.attribute: unknown 'colour'"


async def test_the_gateways_own_mistake_is_internal(backends: Backends, client: GatewayClient):
    """A refusal that the caller did not cause is an internal error without detail."""
    backends.retrieval.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await client.recommend()
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert failed.value.details() == "internal error"


_BAD_CALLS: list[tuple[str, Any, str]] = [
    ("Recommend", gateway_pb2.RecommendRequest(limit=0), "limit: "),
    ("RecordEvents", gateway_pb2.RecordEventsRequest(), "events: "),
    ("ForgetUser", gateway_pb2.ForgetUserRequest(), "user_id: "),
]


@pytest.mark.parametrize(("method", "request_refused", "field"), _BAD_CALLS)
async def test_bad_requests_are_refused(client: GatewayClient, method: str, request_refused: Any, field: str):
    """A request that violates the contract is INVALID_ARGUMENT with the field's name."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(client.recommendations, method)(request_refused)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.value.details() or "").startswith(field)


def _drop_events(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE events")
    connection.close()
