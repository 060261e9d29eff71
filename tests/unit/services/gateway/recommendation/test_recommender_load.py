"""What a recommender learns from calls that come late, and whom it then refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.errors import Overloaded
from services.gateway.backends.stages import RankingResult, StageTooSlow, StageUnavailable
from services.gateway.recommendation.recommender import RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest


async def test_a_retrieval_without_time_lowers_the_number_of_calls(gateway: Any):
    """A first stage that is too slow makes the gateway take fewer calls at a time; one that is gone does not."""
    await gateway.popular.refresh()
    most = gateway.recommender.load.limit
    gateway.retrieval.error = StageUnavailable("gone")
    await gateway.ask(RecommendRequest())
    assert gateway.recommender.load.limit == most
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.ask(RecommendRequest())
    assert gateway.recommender.load.limit < most


async def test_a_call_cancelled_at_its_deadline_teaches_the_reserve(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """A caller who is gone before the answer leaves the next call with less time for its stages."""

    async def endless(*_: object) -> RankingResult:
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(gateway.ranking, "rank", endless)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.ask(RecommendRequest(), 0.11), 0.15)
    assert gateway.recommender.load.late_s >= 0.04
    await gateway.ask(RecommendRequest(), 1.0)
    assert gateway.retrieval.timeout_s < 0.48


async def test_a_caller_who_leaves_no_time_teaches_nothing(gateway: Any):
    """Calls that could not have been answered in time by anybody lower nothing for the others."""
    await gateway.popular.refresh()
    most = gateway.recommender.load.limit
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.ask(RecommendRequest(), 0.0)
    assert (gateway.recommender.load.limit, gateway.recommender.load.late_s) == (most, 0)


async def test_calls_beyond_the_limit_are_refused(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """A call that there is no room for is refused at once and told when to come back."""
    held = asyncio.Event()

    async def wait(*_: object) -> RankingResult:
        await held.wait()
        raise StageUnavailable("gone")

    monkeypatch.setattr(gateway.ranking, "rank", wait)
    calls = [asyncio.create_task(gateway.ask(RecommendRequest(), 60.0)) for _ in range(RecommenderOptions().max_calls)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="256 calls are under way"):
        await gateway.ask(RecommendRequest())
    held.set()
    await asyncio.gather(*calls)
