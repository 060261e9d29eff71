"""Identical requests in flight, which share one answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.errors import Overloaded
from services.gateway.answers.answer_cache import Reuse

JOIN, MISS = Reuse.JOIN, Reuse.MISS


async def test_an_answer_from_before_a_change_is_not_kept(shared: Any):
    """One that was in flight is not, and nobody joins it."""
    shared.recommender.free.clear()
    first = asyncio.create_task(shared.ask())
    await shared.started(1)
    shared.cache.clear()
    second = asyncio.create_task(shared.ask())
    await shared.started(1)
    shared.recommender.free.set()
    assert {await first, await second} == {"answer-1", "answer-2"}
    assert shared.outcomes == [MISS, MISS]
    assert await shared.ask() == "answer-2"


async def test_identical_requests_in_flight_are_one(shared: Any):
    """All get the one answer; those that joined say so."""
    shared.recommender.free.clear()
    asked = [asyncio.create_task(shared.answer()) for _ in range(5)]
    await shared.started(len(asked))
    shared.recommender.free.set()
    results = await asyncio.gather(*asked)
    assert {result.items[0].candidate.item_id for result in results} == {"answer-1"}
    assert sorted(result.age_s is None for result in results) == [False] * 4 + [True]
    assert shared.outcomes == [MISS] + [JOIN] * 4


async def test_a_request_with_less_time_is_computed(shared: Any):
    """It cannot wait for an answer that may take longer than its own time."""
    shared.recommender.free.clear()
    slow = asyncio.create_task(shared.ask(remaining_s=5.0))
    await shared.started(1)
    fast = asyncio.create_task(shared.ask(remaining_s=1.0))
    late = asyncio.create_task(shared.ask(remaining_s=6.0))
    await shared.started(2)
    shared.recommender.free.set()
    assert await asyncio.gather(slow, fast, late) == ["answer-1", "answer-2", "answer-1"]
    assert shared.outcomes == [MISS, MISS, JOIN]
    assert shared.recommender.calls == [("ann", 5.0), ("ann", 1.0)]


async def test_a_caller_that_leaves_ends_no_other_call(shared: Any):
    """The answer is given up only once nobody waits for it."""
    shared.recommender.free.clear()
    first, second = (asyncio.create_task(shared.ask()) for _ in range(2))
    await shared.started(2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert shared.recommender.cancelled == 0
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    third = asyncio.create_task(shared.ask())
    for _ in range(2):
        await shared.recommender.called.acquire()
    shared.recommender.free.set()
    assert await third == "answer-2"
    assert shared.recommender.cancelled == 1


async def test_an_error_is_everybodys_and_not_kept(shared: Any):
    shared.recommender.free.clear()
    shared.recommender.error = Overloaded("full")
    asked = [asyncio.create_task(shared.ask()) for _ in range(2)]
    await shared.started(len(asked))
    shared.recommender.free.set()
    for each in asked:
        with pytest.raises(Overloaded):
            await each
    shared.recommender.error = None
    assert await shared.ask() == "answer-2"
