"""Calls to several replicas, over real connections."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.backends.replicas.circuit_breaker import BreakerState
from services.gateway.backends.replicas.replica import RequestRefused
from services.gateway.backends.stages import StageTooSlow, StageUnanswered, StageUnavailable, StageUnreachable

_REQUEST = retrieval_pb2.RetrieveRequest(limit=3)
_TIMEOUT_S = 30.0


async def _retrieve(cluster: Any, timeout_s: float = _TIMEOUT_S) -> Any:
    return await cluster.retrieval.call("Retrieve", _REQUEST, timeout_s, repeatable=True)


async def test_calls_go_to_the_replicas_in_turn(cluster: Any):
    """Each of two replicas gets every second call."""
    for _ in range(6):
        assert len((await _retrieve(cluster)).candidates) == 3
    assert cluster.requests() == [3, 3]


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_broken_replica_costs_no_answer(cluster: Any, status: grpc.StatusCode):
    """Calls that one replica does not take, or cancels as it ends, are answered by the other, until a breaker opens."""
    broken = cluster.services[0].retrieval
    broken.status = status
    for _ in range(20):
        assert (await _retrieve(cluster)).candidates
    assert 3 <= len(broken.requests) < 10  # three in a row open it; trials follow each other with growing pauses
    states = [replica.breaker.state for replica in cluster.retrieval.replicas]
    assert states[1] is BreakerState.CLOSED
    assert states[0] is not BreakerState.CLOSED
    assert cluster.retrieval.answers


async def test_a_slow_answer_is_hedged(cluster: Any):
    """A call that takes longer than usual is sent to the other replica too, whose answer counts."""
    for _ in range(10):
        await _retrieve(cluster)
    slow = cluster.services[1].retrieval
    slow.delay_s = 60.0
    slow.called.clear()
    for _ in range(2):
        assert (await _retrieve(cluster)).candidates
    assert slow.called.is_set()
    assert cluster.retrieval.hedges_won >= 1
    assert cluster.retrieval.retries.spent >= 1


async def test_hedges_stay_within_the_budget(cluster: Any):
    """With both replicas slow, at most a tenth of the calls and ten more are sent twice."""
    for _ in range(10):
        await _retrieve(cluster)
    for service in cluster.services:
        service.retrieval.delay_s = 0.05
    await asyncio.gather(*(_retrieve(cluster) for _ in range(60)))
    assert sum(cluster.requests()) <= 70 + cluster.retrieval.hedged
    assert cluster.retrieval.hedged <= cluster.retrieval.retries.spent <= 17
    assert cluster.retrieval.retries.denied > 0


async def test_a_refused_request_is_not_tried_again(cluster: Any):
    """A request that the first replica refuses as invalid is the caller's mistake, and is not sent to the second."""
    request = retrieval_pb2.RetrieveRequest(
        filter=retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="colour", values=["red"]))
    )
    with pytest.raises(RequestRefused, match="unknown 'colour'"):
        await cluster.retrieval.call("Retrieve", request, _TIMEOUT_S, repeatable=True)
    assert sum(cluster.requests()) == 1


async def test_silent_replicas_are_not_called(cluster: Any):
    """After timeouts of both, calls fail at once, without reaching them; the set says that it does not answer."""
    for service in cluster.services:
        service.retrieval.delay_s = 60.0
    failures = await asyncio.gather(*(_retrieve(cluster, 0.1) for _ in range(6)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {StageUnanswered}
    assert not cluster.retrieval.answers


async def test_calls_that_no_replica_admits_fail_at_once(cluster: Any):
    """While the breakers of both are open, a call reaches neither, and the message says so."""
    for replica in cluster.retrieval.replicas:
        replica.breaker._change(BreakerState.OPEN)
    with pytest.raises(StageUnavailable, match="retrieval is not called"):
        await _retrieve(cluster)
    assert cluster.requests() == [0, 0]


async def test_a_single_replica_is_tried_again_within_the_budget(cluster: Any):
    """A call that does not reach the only replica is tried once more; without a budget it is not."""
    alone = cluster.retrieval.replicas[0]
    cluster.retrieval.replicas = [alone]
    service = cluster.services[0].retrieval
    service.status, service.failures = grpc.StatusCode.UNAVAILABLE, 1
    assert (await _retrieve(cluster)).candidates
    cluster.retrieval.retries._balance = 0.0
    service.failures = 1
    with pytest.raises(StageUnreachable):
        await _retrieve(cluster)


async def test_without_time_nothing_is_called(cluster: Any):
    """A call without time left fails at once."""
    with pytest.raises(StageTooSlow, match="no time was left for retrieval"):
        await _retrieve(cluster, 0.0)
    assert cluster.requests() == [0, 0]
