"""BatchRecommend through a gateway over fake services."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from unittest.mock import Mock
from unittest.mock import call as mock_call

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.server.methods.batching import BatchCall
from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway

Request = gateway_pb2.RecommendRequest


async def _batch(
    client: GatewayClient, requests: Iterable[tuple[str, Request]], timeout_s: float = 30.0
) -> dict[str, gateway_pb2.BatchRecommendResponse]:
    messages = [gateway_pb2.BatchRecommendRequest(id=name, request=request) for name, request in requests]
    call = client.recommendations.BatchRecommend(iter(messages), timeout=timeout_s)
    return {answer.id: answer async for answer in call}


async def test_every_request_is_answered_with_its_id(client: GatewayClient, backends: Backends):
    """As Recommend answers it, with batch priority in both stages whatever the request says."""
    requests = [(f"u{at}", Request(user_id=f"u{at}", limit=1 + at % 3)) for at in range(40)]
    answers = await _batch(client, requests)
    assert set(answers) == {name for name, _ in requests}
    for name, request in requests:
        assert item_ids(answers[name].response) == ["item-39", "item-38", "item-37"][: request.limit]
    assert {each.priority for each in backends.retrieval.requests[1:]} == {retrieval_pb2.PRIORITY_BATCH}
    assert {each.priority for each in backends.ranking.requests} == {ranking_pb2.PRIORITY_BATCH}
    assert 'shortlist_gateway_batch_answers_total{code="OK"} 40.0' in await client.metrics()


async def test_a_bad_request_ends_no_other(client: GatewayClient):
    """Its answer says what is wrong; so does that to a request without an id."""
    answers = await _batch(client, [("good", Request(limit=1)), ("bad", Request(limit=0)), ("", Request())])
    assert item_ids(answers["good"].response) == ["item-39"]
    assert answers["bad"].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert answers["bad"].error.message.startswith("limit: must be 1 to 500")
    assert answers[""].error.message == "id: must be set"
    assert 'shortlist_gateway_batch_answers_total{code="INVALID_ARGUMENT"} 2.0' in await client.metrics()


async def test_a_stage_that_fails_is_a_degradation(client: GatewayClient, backends: Backends):
    """As in Recommend: an answer that says what failed."""
    backends.ranking.status = grpc.StatusCode.INTERNAL
    answers = await _batch(client, [("a", Request(limit=1))])
    assert item_ids(answers["a"].response) == ["item-0"]
    assert answers["a"].response.degradations


async def test_requests_are_read_as_there_is_room(gateway_settings: Callable[..., Settings]):
    """Answers come while the caller still sends, and without room no further request is taken."""
    sent: list[str] = []

    async def requests() -> AsyncIterator[gateway_pb2.BatchRecommendRequest]:
        for at in range(6):
            sent.append(f"r{at}")
            yield gateway_pb2.BatchRecommendRequest(id=f"r{at}", request=Request(limit=1))

    async with running_gateway(gateway_settings(batch_in_flight=1)) as client:
        call = client.recommendations.BatchRecommend(requests(), timeout=30)
        answered = [answer.id async for answer in call]
    assert answered == sent == [f"r{at}" for at in range(6)]  # one at a time keeps the order


async def test_priority_can_be_asked_of_a_single_request(client: GatewayClient, backends: Backends):
    """Recommend hands it on; interactive is the default, and an unknown priority is refused."""
    await client.recommend(limit=1)
    assert backends.ranking.requests[-1].priority != ranking_pb2.PRIORITY_BATCH
    await client.recommend(limit=1, priority=ranking_pb2.PRIORITY_BATCH)
    assert backends.ranking.requests[-1].priority == ranking_pb2.PRIORITY_BATCH
    assert backends.retrieval.requests[-1].priority == retrieval_pb2.PRIORITY_BATCH
    unknown: Any = 9
    with pytest.raises(grpc.aio.AioRpcError, match="priority: 9 is no priority"):
        await client.recommend(priority=unknown)


async def test_no_request_is_begun_after_the_calls_deadline():
    """Each is answered with DEADLINE_EXCEEDED, also those that the caller has sent already."""

    async def requests() -> AsyncIterator[gateway_pb2.BatchRecommendRequest]:
        for at in range(10):
            yield gateway_pb2.BatchRecommendRequest(id=f"r{at}", request=Request())

    recommender, metrics = Mock(), Mock()
    call = BatchCall(recommender, metrics, time.monotonic(), 4, 1.0)
    answers = {answer.id: answer async for answer in call.answers(requests())}
    assert set(answers) == {f"r{at}" for at in range(10)}
    assert {answer.error.code for answer in answers.values()} == {grpc.StatusCode.DEADLINE_EXCEEDED.value[0]}
    assert metrics.count_batch_answer.mock_calls == [mock_call("DEADLINE_EXCEEDED")] * 10
    recommender.recommend.assert_not_called()
