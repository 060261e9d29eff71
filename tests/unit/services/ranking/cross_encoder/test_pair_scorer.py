"""Reading pairs at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import Overloaded
from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.cross_encoder.pair_scorer import PairScorer
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.pairs.score_cache import ScoreCache
from services.ranking.request import CallContext, Priority

CONTEXT = np.array([7, 7], dtype=np.int32)


FAR = CallContext(1e6)


@pytest.fixture
def reader_of(batcher_of: Callable[..., Batcher]):
    """Make readers with caches of so many entries."""
    return lambda entries=100: PairScorer(batcher_of(), PairTemplate(101, 102), ScoreCache(entries))


async def _read(reader: PairScorer, keys: list[int], terms: CallContext = FAR) -> Any:
    items = TokenRows.from_rows([[key] * 3 for key in keys])
    return await reader.score_pairs(CONTEXT, items, keys, terms)


def _sums(keys: list[int]) -> Any:
    return [101 + 7 + 7 + 102 + 3 * key + 102 for key in keys]


async def _begun(model: Any) -> None:
    assert await asyncio.to_thread(model.began.acquire, timeout=30)


async def test_pairs_are_read_and_reused(reader_of: Any, model: Any):
    """What was read before comes from the cache, in the order asked for."""
    reader = reader_of()
    assert (await _read(reader, [1, 2, 3])).scores.logits.tolist() == _sums([1, 2, 3])
    reading = await _read(reader, [3, 4, 1])
    assert reading.scores.logits.tolist() == _sums([3, 4, 1])
    assert (reading.read, reading.reused, reading.skipped) == (1, 2, 0)
    assert sum(len(batch) for batch in model.batches) == 4


async def test_pairs_under_way_are_shared(reader_of: Any, model: Any):
    """A caller who asks for what another is having read waits for that."""
    reader = reader_of()
    model.gate.clear()
    first = asyncio.create_task(_read(reader, [1, 2]))
    await _begun(model)
    second = asyncio.create_task(_read(reader, [2, 3]))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await first).scores.logits.tolist() == _sums([1, 2])
    reading = await second
    assert reading.scores.logits.tolist() == _sums([2, 3])
    assert (reading.read, reading.reused) == (1, 1)


@pytest.mark.parametrize("entries", [0, 100])
async def test_a_caller_that_vanishes_harms_none_that_waits_for_its_pairs(reader_of: Any, model: Any, entries: int):
    """Where the caller whose pairs are shared is cancelled, the others have them read themselves."""
    reader = reader_of(entries)
    model.gate.clear()
    blocking = asyncio.create_task(_read(reader, [9]))
    await _begun(model)
    gone = asyncio.create_task(_read(reader, [1, 2]))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_read(reader, [1, 2]))
    await asyncio.sleep(0)
    gone.cancel()
    model.gate.set()
    assert (await waiting).scores.logits.tolist() == _sums([1, 2])
    await blocking
    assert gone.cancelled()
    assert len(reader._in_flight) == 0


async def test_urgent_callers_do_not_wait_for_patient_ones(reader_of: Any, model: Any):
    """Pairs that are read for batch work are read again for a user who waits."""
    reader = reader_of()
    model.gate.clear()
    blocking = asyncio.create_task(_read(reader, [9]))
    await _begun(model)
    patient = asyncio.create_task(_read(reader, [1], CallContext(1e6, Priority.BATCH)))
    await asyncio.sleep(0)
    urgent = asyncio.create_task(_read(reader, [1], CallContext(1e5)))
    await asyncio.sleep(0)
    model.gate.set()
    readings = await asyncio.gather(blocking, patient, urgent)
    assert [reading.read for reading in readings] == [1, 1, 1]


async def test_what_there_is_no_time_for_stays_unread(reader_of: Any, clock: Any):
    """The first pairs are read, the others are told to be unread, and later asked for again."""
    reader = reader_of()
    reading = await _read(reader, [1, 2, 3], CallContext(clock.now + 0.017))  # a pair of 8 tokens takes 8 ms
    np.testing.assert_array_equal(reading.scores.logits, [*_sums([1, 2]), np.nan])
    assert (reading.read, reading.skipped) == (2, 1)
    assert (await _read(reader, [1, 2, 3])).read == 1


async def test_the_same_item_twice_is_read_once(reader_of: Any, model: Any):
    """Duplicates get the same logit from one reading, with and without a cache."""
    reading = await _read(reader_of(0), [1, 2, 1, 1])
    assert reading.scores.logits.tolist() == _sums([1, 2, 1, 1])
    assert sum(len(batch) for batch in model.batches) == 2


async def test_a_poisonous_pair_is_told_to_be_unread(reader_of: Any, model: Any):
    """A pair on which the model fails is NaN and not remembered."""
    reader, model.poison = reader_of(), 2
    reading = await _read(reader, [1, 2, 3])
    assert (reading.read, reading.skipped) == (2, 1)
    model.poison = -1
    assert (await _read(reader, [1, 2, 3])).scores.logits.tolist() == _sums([1, 2, 3])


def _insisting(clock: Any, seconds: float, least: int) -> CallContext:
    return CallContext(clock.now + seconds, min_pairs=least)


async def _kept_busy(reader: PairScorer, model: Any, clock: Any, pairs: int) -> Any:
    """Have pairs of 8 ms each read for another caller."""
    model.gate.clear()
    keys = list(range(100, 100 + pairs))
    task = asyncio.create_task(_read(reader, keys, CallContext(clock.now + 0.1)))
    await _begun(model)
    return task


async def test_who_insists_is_refused_where_others_leave_no_time(reader_of: Any, model: Any, clock: Any):
    """Of 100 ms others take 80: two pairs are let in, three are told to come back, and nothing is read for them."""
    reader = reader_of()
    busy = await _kept_busy(reader, model, clock, 10)
    with pytest.raises(Overloaded, match="no time for the 3 pairs") as refused:
        await _read(reader, [1, 2, 3, 4], _insisting(clock, 0.1, 3))
    assert refused.value.retry_after_s > 0
    call = asyncio.create_task(_read(reader, [1, 2, 3, 4], _insisting(clock, 0.1, 2)))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await call).read == 2
    await busy


async def test_what_is_known_already_counts_as_read(reader_of: Any, model: Any, clock: Any):
    """Who insists on three pairs of which two are in the cache needs time for one."""
    reader = reader_of()
    await _read(reader, [1, 2])
    busy = await _kept_busy(reader, model, clock, 11)
    call = asyncio.create_task(_read(reader, [1, 2, 3], _insisting(clock, 0.1, 3)))
    await asyncio.sleep(0)
    model.gate.set()
    assert (await call).read == 1
    await busy


async def test_who_takes_what_is_left_gets_nothing_rather_than_little(reader_of: Any, model: Any, clock: Any):
    """Two of twelve pairs are not worth waiting for behind others; the answer comes at once."""
    reader = reader_of()
    busy = await _kept_busy(reader, model, clock, 10)
    reading = await _read(reader, list(range(12)), CallContext(clock.now + 0.1))
    assert (reading.read, reading.skipped) == (0, 12)
    model.gate.set()
    await busy


async def test_the_door_knows_what_pairs_cost_of_late(reader_of: Any, model: Any, clock: Any):
    """Before a call is looked at, it is refused where pairs like those before it would not fit."""
    reader = reader_of()
    reader.check_room(_insisting(clock, 0.001, 5), 0)  # nothing is known yet
    await _read(reader, [1])
    reader.check_room(_insisting(clock, 0.1, 13), 0)  # nobody waits: no more is asked for than is insisted on
    busy = await _kept_busy(reader, model, clock, 10)
    reader.check_room(_insisting(clock, 0.1, 0), 5)
    reader.check_room(_insisting(clock, 0.1, 1), 0)
    with pytest.raises(Overloaded):
        reader.check_room(_insisting(clock, 0.1, 5), 0)
    with pytest.raises(Overloaded):
        reader.check_room(_insisting(clock, 0.1, 1), 4)
    model.gate.set()
    await busy
