"""How the recommender limits concurrent calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.errors import Overloaded
from services.gateway.backends.stages import RankingResult, StageTooSlow, StageUnanswered, StageUnavailable
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.recommender import RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest


async def test_slow_retrieval_lowers_the_limit(gateway: Any):
    """Retrieval that is too slow lowers the limit; retrieval that is unavailable does not."""
    await gateway.popular.refresh()
    highest = gateway.recommender.concurrency_limit.limit
    gateway.retrieval.error = StageUnavailable("gone")
    await gateway.recommend(RecommendRequest())
    assert gateway.recommender.concurrency_limit.limit == highest
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.recommend(RecommendRequest())
    assert gateway.recommender.concurrency_limit.limit < highest


@pytest.mark.parametrize("stage", ["retrieval", "ranking"])
async def test_a_service_that_hangs_leaves_the_limit_as_it_is(
    gateway: Any, stage: str, monkeypatch: pytest.MonkeyPatch
):
    """Calls that waited for a silent service, and ended late, lower neither the limit nor the time of later calls."""
    await gateway.popular.refresh()
    highest = gateway.recommender.concurrency_limit.limit
    monkeypatch.setattr(CallTrace, "is_overdue", lambda _: True)
    monkeypatch.setattr(CallTrace, "lateness_s", lambda _: 1.0)
    getattr(gateway, stage).error = StageUnanswered("no answer")
    await gateway.recommend(RecommendRequest())
    limit = gateway.recommender.concurrency_limit
    assert (limit.limit, limit.lateness_s) == (highest, 0.0)
    getattr(gateway, stage).error = None
    await gateway.recommend(RecommendRequest())
    assert limit.limit < highest


async def test_a_call_cancelled_at_its_deadline_raises_the_reserve(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """After a call that was cancelled at its deadline, the next call's stages have less time."""

    async def endless(*_: object) -> RankingResult:
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(gateway.ranking, "rank", endless)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.recommend(RecommendRequest(), 0.11), 0.15)
    assert gateway.recommender.concurrency_limit.lateness_s >= 0.04
    await gateway.recommend(RecommendRequest(), 1.0)
    assert gateway.retrieval.timeout_s < 0.48


async def test_a_call_without_time_does_not_count(gateway: Any):
    """Calls that cannot be answered in time do not lower the limit for others."""
    await gateway.popular.refresh()
    highest = gateway.recommender.concurrency_limit.limit
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.recommend(RecommendRequest(), 0.0)
    assert (gateway.recommender.concurrency_limit.limit, gateway.recommender.concurrency_limit.lateness_s) == (
        highest,
        0,
    )


async def test_calls_beyond_the_limit_are_refused(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """A call beyond the limit is refused at once with a retry time."""
    held = asyncio.Event()

    async def wait(*_: object) -> RankingResult:
        await held.wait()
        raise StageUnavailable("gone")

    monkeypatch.setattr(gateway.ranking, "rank", wait)
    calls = [
        asyncio.create_task(gateway.recommend(RecommendRequest(), 60.0)) for _ in range(RecommenderOptions().max_calls)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="256 calls are in flight"):
        await gateway.recommend(RecommendRequest())
    held.set()
    await asyncio.gather(*calls)
