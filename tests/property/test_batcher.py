"""Properties of the batcher under any calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ShortlistError
from common.ragged import TokenRows
from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import JobSlice
from services.ranking.pairs.pair_tokens import PairTemplate, TokenPairs
from services.ranking.request import CallContext, Priority

# A busy machine is no fault.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LENGTHS = st.lists(st.integers(4, 150), min_size=1, max_size=30)
COSTS = st.builds(
    CostModel, st.sampled_from([0.0, 0.5, 50.0]), st.sampled_from([0.0, 0.01, 1.0]), st.sampled_from([0.0, 1e-3])
)
LIMITS = st.builds(
    BatchLimits, padded_tokens=st.integers(1, 600), max_queued_pairs=st.just(1_000), workers=st.integers(1, 3)
)
POISON = 13


def _pairs(lengths: list[int], token: int) -> Any:
    items = TokenRows.from_rows([np.full(length - 3, token) for length in lengths])
    return PairTemplate(101, 102).join(TokenRows.from_rows([[]]), np.zeros(len(lengths), np.int64), items)


JOBS = st.tuples(
    LENGTHS,
    st.floats(0.0, 5.0),  # deadline
    st.sampled_from(Priority),
    st.sampled_from(["a", "b", "c"]),
    st.floats(0.0, 0.5),  # since the one before
)


@UNHURRIED
@given(COSTS, LIMITS, st.lists(JOBS, max_size=12), st.data())
def test_every_admitted_row_is_taken_once_or_expires(
    cost: CostModel, limits: BatchLimits, jobs: list[Any], data: st.DataObject
):
    """Batches hold each waiting row exactly once, keep to the budget, and the counters end at zero."""
    queue, now, admitted, taken = BatchQueue(cost, limits), 0.0, [], {}
    for lengths, time_left, priority, caller, pause in jobs:
        now += pause
        call = CallContext(now + time_left, priority, caller)
        job = queue.make_job(_pairs(lengths, 1), call, now=now, complete=lambda _error: None)
        try:
            queue.admit(job, now)
        except ShortlistError:
            continue
        admitted.append(job)
        taken[job] = []
        if data.draw(st.booleans()):
            _take(queue, now, taken)
    gone = {job for job in admitted if job.waiting and data.draw(st.integers(0, 5)) == 0}
    for job in gone:
        queue.discard(job)
    gone |= set(queue.expire(now))
    while _take(queue, now, taken):
        pass
    for job in set(admitted) - gone:
        assert sorted(taken[job]) == list(range(len(job.pairs)))
    assert queue.pairs == 0
    assert list(queue) == []


def _rows(part: JobSlice) -> range:
    return range(part.start, part.stop)


def _take(queue: BatchQueue, now: float, taken: dict[Any, list[int]]) -> Any:
    batch = queue.next_batch(now)
    if batch is None:
        return False
    lengths = [part.job.pairs.lengths[row] for part in batch.slices for row in _rows(part)]
    assert (batch.rows, batch.longest) == (len(lengths), max(lengths))
    assert batch.rows == 1 or batch.padded_tokens <= queue.limits.padded_tokens
    assert len({part.job.priority for part in batch.slices}) == 1
    for part in batch.slices:
        taken[part.job] += _rows(part)
    queue.finish(batch, now)
    return True


@UNHURRIED
@given(
    st.lists(st.tuples(LENGTHS, st.floats(0.01, 3.0), st.floats(0.0, 0.3), st.sampled_from("abc")), max_size=15), LIMITS
)
def test_admitted_work_is_done_in_time_where_costs_are_as_expected(jobs: list[Any], limits: BatchLimits):
    """With a true cost model and one worker, no admitted job is late, whatever order fairness asks for."""
    limits = BatchLimits(limits.padded_tokens, limits.max_queued_pairs, workers=1)
    queue, now, late = BatchQueue(CostModel(0.0, 1.0), limits), 0.0, []
    arrivals = list(np.cumsum([pause for _, _, pause, _ in jobs]))
    while arrivals or queue.pairs:
        while arrivals and arrivals[0] <= now:
            arrived = arrivals.pop(0)
            lengths, time_left, _, caller = jobs[-1 - len(arrivals)]
            _try_to_admit(queue, _pairs(lengths, 1), CallContext(arrived + time_left, caller=caller), now)
        late += queue.expire(now)
        batch = queue.next_batch(now)
        if batch is None:
            now = arrivals[0] if arrivals else now
            continue
        padding = sum(batch.longest - part.job.pairs.lengths[row] for part in batch.slices for row in _rows(part))
        now += (batch.padded_tokens - padding) / 1e3
        queue.finish(batch, now)
        late += [part.job for part in batch.slices if now > part.job.planned_end + 1e-9]
    assert not late


def _try_to_admit(queue: BatchQueue, pairs: TokenPairs, call: CallContext, now: float) -> None:
    try:
        queue.admit(queue.make_job(pairs, call, now=now, complete=lambda _error: None), now)
    except ShortlistError:
        return


def _model(input_ids: Any, attention_mask: Any, _token_type_ids: Any) -> Any:
    if (input_ids == POISON).any():
        raise ValueError("poison")
    return np.asarray((input_ids * attention_mask).sum(1), dtype=np.float32)


@settings(UNHURRIED, max_examples=30)
@given(st.lists(st.tuples(LENGTHS, st.integers(10, 16), st.booleans()), min_size=1, max_size=8), COSTS, LIMITS)
def test_every_caller_gets_its_own_rows_back(calls: list[Any], cost: CostModel, limits: BatchLimits):
    """Under real threads, with callers that vanish and pairs that poison, everyone else's scores are right."""
    asyncio.run(_call_all(calls, Batcher(_model, CostModel(cost.batch_ms, cost.token_ms), limits)))


async def _call_all(calls: list[Any], batcher: Batcher) -> None:
    try:
        tasks = [
            asyncio.create_task(batcher.score(_pairs(lengths, token), CallContext(time.monotonic() + 1e6)))
            for lengths, token, _ in calls
        ]
        await asyncio.sleep(0)
        for task, (_, _, vanishes) in zip(tasks, calls, strict=True):
            if vanishes:
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await asyncio.to_thread(batcher.close)
    for outcome, (lengths, token, vanishes) in zip(outcomes, calls, strict=True):
        if vanishes:
            assert isinstance(outcome, asyncio.CancelledError)
        elif token == POISON and min(lengths) > 3:
            assert isinstance(outcome, RuntimeError)
        else:
            expected = [101 + 102 + 102 + token * (length - 3) for length in lengths]
            assert outcome.logits.tolist() == expected
    assert batcher.queued_pairs == 0
