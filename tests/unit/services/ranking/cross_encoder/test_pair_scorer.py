"""Scoring pairs, each read at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import Overloaded
from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.cost_model import CostModel
from services.ranking.cross_encoder.pair_scorer import PairScorer
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.pairs.score_cache import ScoreCache
from services.ranking.request import CallContext, Priority

CONTEXT = np.array([7, 7], dtype=np.int32)
FAR = CallContext(1e6)


@pytest.fixture
def scorer_of(batcher_of: Callable[..., Batcher]):
    """Make scorers with caches of a size."""
    return lambda cache_size=100, cost=None: PairScorer(
        batcher_of(cost), PairTemplate(101, 102), ScoreCache(cache_size)
    )


async def _read(scorer: PairScorer, keys: list[int], call: CallContext = FAR) -> Any:
    items = TokenRows.from_rows([[key] * 3 for key in keys])
    return await scorer.score_pairs(CONTEXT, items, keys, call)


def _sums(keys: list[int]) -> Any:
    return [101 + 7 + 7 + 102 + 3 * key + 102 for key in keys]


async def _begun(model: Any) -> None:
    assert await asyncio.to_thread(model.began.acquire, timeout=30)


async def test_pairs_are_read_and_reused(scorer_of: Any, model: Any):
    """Pairs that were read before come from the cache, in the order of the request."""
    scorer = scorer_of()
    assert (await _read(scorer, [1, 2, 3])).scores.logits.tolist() == _sums([1, 2, 3])
    reading = await _read(scorer, [3, 4, 1])
    assert reading.scores.logits.tolist() == _sums([3, 4, 1])
    assert (reading.read, reading.reused, reading.skipped) == (1, 2, 0)
    assert sum(len(batch) for batch in model.batches) == 4


async def test_pairs_under_way_are_shared(scorer_of: Any, model: Any):
    """A call waits for pairs that another call is reading."""
    scorer = scorer_of()
    model.gate.clear()
    first = asyncio.create_task(_read(scorer, [1, 2]))
    await _begun(model)
    second = asyncio.create_task(_read(scorer, [2, 3]))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await first).scores.logits.tolist() == _sums([1, 2])
    reading = await second
    assert reading.scores.logits.tolist() == _sums([2, 3])
    assert (reading.read, reading.reused) == (1, 1)


@pytest.mark.parametrize("cache_size", [0, 100])
async def test_a_cancelled_call_does_not_affect_calls_that_share_its_pairs(scorer_of: Any, model: Any, cache_size: int):
    """If the call whose pairs are shared is cancelled, the other calls read them themselves."""
    scorer = scorer_of(cache_size)
    model.gate.clear()
    blocking = asyncio.create_task(_read(scorer, [9]))
    await _begun(model)
    gone = asyncio.create_task(_read(scorer, [1, 2]))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_read(scorer, [1, 2]))
    await asyncio.sleep(0)
    gone.cancel()
    model.gate.set()
    assert (await waiting).scores.logits.tolist() == _sums([1, 2])
    await blocking
    assert gone.cancelled()
    assert len(scorer._in_flight) == 0


async def test_urgent_calls_do_not_wait_for_less_urgent_ones(scorer_of: Any, model: Any):
    """Pairs in a batch-priority reading are read again for a user who waits."""
    scorer = scorer_of()
    model.gate.clear()
    blocking = asyncio.create_task(_read(scorer, [9]))
    await _begun(model)
    patient = asyncio.create_task(_read(scorer, [1], CallContext(1e6, Priority.BATCH)))
    await asyncio.sleep(0)
    urgent = asyncio.create_task(_read(scorer, [1], CallContext(1e5)))
    await asyncio.sleep(0)
    model.gate.set()
    readings = await asyncio.gather(blocking, patient, urgent)
    assert [reading.read for reading in readings] == [1, 1, 1]


async def test_pairs_without_time_are_skipped(scorer_of: Any, clock: Any):
    """The first pairs are read, the others are counted as skipped and can be read by a later call."""
    scorer = scorer_of(cost=CostModel(0.0, 5_000.0))  # a busy machine must not take longer than the model says
    reading = await _read(scorer, [1, 2, 3], CallContext(clock.now + 85))  # a pair of 8 tokens takes 40 s
    np.testing.assert_array_equal(reading.scores.logits, [*_sums([1, 2]), np.nan])
    assert (reading.read, reading.skipped) == (2, 1)
    assert (await _read(scorer, [1, 2, 3])).read == 1


async def test_the_same_item_twice_is_read_once(scorer_of: Any, model: Any):
    """Duplicates get the same logit from one reading, even without a cache."""
    reading = await _read(scorer_of(0), [1, 2, 1, 1])
    assert reading.scores.logits.tolist() == _sums([1, 2, 1, 1])
    assert sum(len(batch) for batch in model.batches) == 2


async def test_a_pair_that_fails_is_skipped(scorer_of: Any, model: Any):
    """A pair on which the model fails is NaN and is not cached."""
    scorer, model.poison = scorer_of(), 2
    reading = await _read(scorer, [1, 2, 3])
    assert (reading.read, reading.skipped) == (2, 1)
    model.poison = -1
    assert (await _read(scorer, [1, 2, 3])).scores.logits.tolist() == _sums([1, 2, 3])


def _needing(clock: Any, seconds: float, min_pairs: int) -> CallContext:
    return CallContext(clock.now + seconds, min_pairs=min_pairs)


async def _kept_busy(scorer: PairScorer, model: Any, clock: Any, pairs: int) -> Any:
    """Read pairs of 8 ms each for another call."""
    model.gate.clear()
    keys = list(range(100, 100 + pairs))
    task = asyncio.create_task(_read(scorer, keys, CallContext(clock.now + 0.1)))
    await _begun(model)
    return task


async def test_a_call_is_refused_if_others_leave_no_time_for_the_pairs_it_needs(scorer_of: Any, model: Any, clock: Any):
    """If others take 80 of 100 ms, a call that needs two pairs is served, one that needs three is refused at once."""
    scorer = scorer_of()
    busy = await _kept_busy(scorer, model, clock, 10)
    with pytest.raises(Overloaded, match="no time for the 3 pairs") as refused:
        await _read(scorer, [1, 2, 3, 4], _needing(clock, 0.1, 3))
    assert refused.value.retry_after_s > 0
    call = asyncio.create_task(_read(scorer, [1, 2, 3, 4], _needing(clock, 0.1, 2)))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await call).read == 2
    await busy


async def test_cached_pairs_count_as_read(scorer_of: Any, model: Any, clock: Any):
    """A call that needs three pairs, two of them cached, needs time for one."""
    scorer = scorer_of()
    await _read(scorer, [1, 2])
    busy = await _kept_busy(scorer, model, clock, 11)
    call = asyncio.create_task(_read(scorer, [1, 2, 3], _needing(clock, 0.1, 3)))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await call).read == 1
    await busy


async def test_few_pairs_are_not_read_behind_others(scorer_of: Any, model: Any, clock: Any):
    """If other calls leave time for two of twelve pairs, none is read and the answer comes at once."""
    scorer = scorer_of()
    busy = await _kept_busy(scorer, model, clock, 10)
    reading = await _read(scorer, list(range(12)), CallContext(clock.now + 0.1))
    assert (reading.read, reading.skipped) == (0, 12)
    model.gate.set()
    await busy


async def test_room_is_checked_by_the_cost_of_recent_pairs(scorer_of: Any, model: Any, clock: Any):
    """Before its candidates are parsed, a call is refused if pairs like recent ones would not fit."""
    scorer = scorer_of()
    scorer.check_room(_needing(clock, 0.001, 5), 0)  # nothing is known yet
    await _read(scorer, [1])
    scorer.check_room(_needing(clock, 0.1, 13), 0)  # nobody waits: no margin
    busy = await _kept_busy(scorer, model, clock, 10)
    scorer.check_room(_needing(clock, 0.1, 0), 5)
    scorer.check_room(_needing(clock, 0.1, 1), 0)
    with pytest.raises(Overloaded):
        scorer.check_room(_needing(clock, 0.1, 5), 0)
    with pytest.raises(Overloaded):
        scorer.check_room(_needing(clock, 0.1, 1), 4)
    model.gate.set()
    await busy
