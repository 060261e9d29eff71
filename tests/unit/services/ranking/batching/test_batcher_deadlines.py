"""The batcher if time or room is short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import DeadlineTooShort, Overloaded
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.cost_model import CostModel
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext
from testing.batching import token_sums, wait_for_batches, wait_for_queued

FAR = CallContext(1e6)


async def test_work_that_cannot_be_done_in_time_is_refused_at_once(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A token costs five seconds: 8 tokens cannot be read in 35 seconds, in 45 they can."""
    batcher = batcher_of(CostModel(0.0, 5_000.0))  # a busy machine must not take longer than the model says
    with pytest.raises(DeadlineTooShort, match="1 pairs cannot be read"):
        await batcher.score(pairs_of([8]), CallContext(clock.now + 35))
    assert model.batches == []
    assert (await batcher.score(pairs_of([8]), CallContext(clock.now + 45))).failed == 0


async def test_work_that_expired_in_the_queue_is_dropped(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """If a batch takes longer than expected, calls behind it that are late already are not computed."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    late = asyncio.create_task(batcher.score(pairs_of([8], token=66), CallContext(clock.now + 0.1)))
    await wait_for_queued(batcher, 1)
    clock.now += 0.2
    model.gate.set()
    with pytest.raises(DeadlineTooShort, match="in time"):
        await late
    await first
    assert len(model.batches) == 1


async def test_a_full_queue_says_when_to_try_again(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """If the queue is full, the error says to retry after the queued work is done."""
    batcher = batcher_of(max_queued_pairs=10)
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    waiting = asyncio.create_task(batcher.score(pairs_of([100] * 10), FAR))
    await wait_for_queued(batcher, 10)
    with pytest.raises(Overloaded, match="10 of 10 pairs wait") as refused:
        await batcher.score(pairs_of([8]), FAR)
    assert refused.value.retry_after_s == pytest.approx(1.0)
    model.gate.set()
    await asyncio.gather(first, waiting)


async def test_affordable_is_what_score_accepts(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """As many pairs as are affordable are admitted, and one more is not."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    call = CallContext(clock.now + 0.1)
    count = batcher.affordable(np.full(50, 10), call)
    assert count == 9  # 100 ms less the 8 that run
    with pytest.raises(DeadlineTooShort):
        await batcher.score(pairs_of([10] * (count + 1)), call)
    admitted = asyncio.create_task(batcher.score(pairs_of([10] * count), call))
    await wait_for_queued(batcher, count)
    assert batcher.affordable(np.full(50, 10), call) == 0
    model.gate.set()
    await asyncio.gather(first, admitted)


async def test_pairs_read_by_the_deadline_are_returned(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A partial result comes at the deadline although a batch hangs, and does not change afterwards."""
    batcher = batcher_of(padded_tokens=8)
    model.gate.clear()
    call = asyncio.create_task(batcher.score(pairs_of([8, 9]), CallContext(clock.now + 0.05), allow_partial=True))
    scores = await call
    assert np.isnan(scores.logits).all()
    assert batcher.queued_pairs == 0
    model.gate.set()
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0
    assert np.isnan(scores.logits).all()


async def test_a_hanging_batch_does_not_delay_the_answer_past_the_deadline(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A call that takes no partial result fails at the deadline."""
    batcher = batcher_of()
    model.gate.clear()
    with pytest.raises(DeadlineTooShort, match="in time"):
        await batcher.score(pairs_of([8]), CallContext(clock.now + 0.05))


async def test_half_a_job_is_returned_if_the_rest_expires(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Rows that ran have logits, the others are NaN, and the overrun is kept back for later calls."""
    batcher = batcher_of(padded_tokens=40)
    pairs = pairs_of([20, 20, 10, 10])
    model.gate.clear()
    call = asyncio.create_task(batcher.score(pairs, CallContext(clock.now + 60.0), allow_partial=True))
    await wait_for_batches(model)
    clock.now += 60.02
    model.gate.set()
    scores = await call
    np.testing.assert_array_equal(scores.logits, [*token_sums(pairs)[:2], np.nan, np.nan])
    assert scores.delivered == 2
    assert batcher._queue.capacity.overrun.seconds == pytest.approx(0.02)
    assert len(model.batches) == 1
