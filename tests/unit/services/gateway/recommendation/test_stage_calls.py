"""The calls of both stages and what replaces one that fails; test_recommender.py has whole answers."""

from __future__ import annotations

from typing import Any

from services.gateway.backends.stages import RetrieveRequest, StageOverloaded, UserInput
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.deadline import Deadline, DeadlineShares
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import DegradationKind
from services.gateway.recommendation.stage_calls import StageCalls


async def test_a_failed_stage_is_replaced_and_named(gateway: Any):
    """Popular items replace retrieval, and nothing replaces ranking; the trace names both and has their times."""
    await gateway.popular.refresh()
    stages = StageCalls(gateway.retrieval, gateway.ranking, gateway.popular, DeadlineShares())
    trace = CallTrace(Deadline.from_remaining(0.0, 1e9, DeadlineShares()))
    gateway.retrieval.error = gateway.ranking.error = StageOverloaded("full")
    found = await stages.retrieve(RetrieveRequest(limit=3), trace)
    assert [item.item_id for item in found.candidates] == ["i0", "i1", "i2"]
    assert found.is_fallback
    assert trace.no_time_for_retrieval
    assert await stages.rank(RecommendRequest(), UserInput("", []), found, trace) is None
    kinds = [each.kind for each in trace.degradations]
    assert kinds == [DegradationKind.RETRIEVAL_UNAVAILABLE, DegradationKind.RANKING_OVERLOADED]
    assert set(trace.timings_ms) == {"retrieval", "ranking"}
