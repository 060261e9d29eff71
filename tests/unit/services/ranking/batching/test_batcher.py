"""The batcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import DeadlineTooShort, NotReady, Overloaded
from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.cost_model import CostModel
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs
from services.ranking.request import CallContext, Priority

FAR = CallContext(1e6)


async def _begun(model: Any, batches: int = 1) -> None:
    for _ in range(batches):
        assert await asyncio.to_thread(model.began.acquire, timeout=30)


async def _queued(batcher: Batcher, pairs: int) -> None:
    """Let the tasks run until so many pairs wait."""
    while batcher.queued_pairs != pairs:  # noqa: ASYNC110 - the batcher tells nobody
        await asyncio.sleep(0)


def _sums(pairs: TokenPairs) -> Any:
    return [float(pairs.rows.row(row).sum()) for row in range(len(pairs))]


async def test_scores_come_back_in_the_callers_order(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs]
):
    """Sorting by length and cutting into batches does not show in the answer."""
    pairs = pairs_of([30, 5, 60, 5, 31, 8, 200, 9])
    scores = await batcher_of(padded_tokens=64).score(pairs, FAR)
    assert scores.logits.tolist() == _sums(pairs)
    assert scores.padded_tokens >= pairs.lengths.sum()


async def test_no_pairs_is_no_work(batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]):
    """Asking for nothing answers nothing and runs nothing."""
    scores = await batcher_of().score(pairs_of([]), CallContext(0.0))
    assert scores.logits.shape == (0,)
    assert model.batches == []


async def test_callers_share_a_batch_where_overhead_dominates(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Pairs of several callers run together, and each gets its own."""
    batcher = batcher_of(CostModel(100.0, 0.001))
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    others = [asyncio.create_task(batcher.score(pairs_of([8, 8], token=10 * n), FAR)) for n in range(1, 4)]
    await _queued(batcher, 6)
    model.gate.set()
    await first
    for number, other in enumerate(others, start=1):
        assert (await other).logits.tolist() == _sums(pairs_of([8, 8], token=10 * number))
    assert [len(batch) for batch in model.batches] == [1, 6]


async def test_a_poisonous_pair_fails_alone(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs], reports: list[BatchReport]
):
    """The pair on which the model raises gets NaN; its batch-mates get their scores."""
    model.poison = 5
    pairs = pairs_of([8] * 9)
    scores = await batcher_of().score(pairs, FAR)
    expected = np.array(_sums(pairs))
    expected[4] = np.nan
    np.testing.assert_array_equal(scores.logits, expected)
    assert scores.failed == 1
    assert reports[-1].failed == 1


async def test_a_model_that_always_fails_is_an_error(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Where no pair could be read, the caller gets an error, and the next caller is served again."""
    model.poison = 101
    batcher = batcher_of()
    with pytest.raises(RuntimeError, match="every pair"):
        await batcher.score(pairs_of([8, 8]), FAR)
    model.poison = -1
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0


async def test_an_answer_of_the_wrong_shape_is_a_failure(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], monkeypatch: pytest.MonkeyPatch
):
    """Logits that cannot be told apart are given to nobody."""
    batcher = batcher_of()
    monkeypatch.setattr(batcher, "_model", lambda ids, _mask, _types: np.zeros(len(ids) + 1, np.float32))
    with pytest.raises(RuntimeError, match="every pair"):
        await batcher.score(pairs_of([8, 8]), FAR)


async def test_a_fault_outside_the_model_does_not_stop_the_threads(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], monkeypatch: pytest.MonkeyPatch
):
    """Where a batch cannot even be put together its callers get the error, and the next ones are served."""
    batcher = batcher_of()
    with monkeypatch.context() as patch:
        patch.setattr(ModelInputs, "from_pairs", _no_memory)
        with pytest.raises(MemoryError):
            await batcher.score(pairs_of([8, 8]), FAR)
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0


def _no_memory(*_parts: Any) -> None:
    raise MemoryError


async def test_a_cancelled_caller_takes_its_pairs_along(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Pairs of a caller that went away are not read, and the other callers are answered."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    gone = asyncio.create_task(batcher.score(pairs_of([8], token=66), FAR))
    stays = asyncio.create_task(batcher.score(pairs_of([8], token=77), FAR))
    await _queued(batcher, 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert batcher.queued_pairs == 1
    model.gate.set()
    await first
    assert (await stays).logits.tolist() == _sums(pairs_of([8], token=77))
    assert not any((batch == 66).any() for batch in model.batches)


async def test_a_caller_cancelled_while_its_pairs_run_harms_nobody(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """A result without a caller is dropped."""
    batcher = batcher_of()
    model.gate.clear()
    gone = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    gone.cancel()
    model.gate.set()
    assert (await batcher.score(pairs_of([9]), FAR)).failed == 0
    assert gone.cancelled()


async def test_work_that_cannot_be_done_in_time_is_refused_at_the_door(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A token costs a millisecond: 8 tokens cannot be read in 7 milliseconds, in 9 they can."""
    batcher = batcher_of()
    with pytest.raises(DeadlineTooShort, match="1 pairs cannot be read"):
        await batcher.score(pairs_of([8]), CallContext(clock.now + 0.007))
    assert model.batches == []
    assert (await batcher.score(pairs_of([8]), CallContext(clock.now + 0.009))).failed == 0


async def test_work_that_expired_in_the_queue_is_dropped(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A batch that took longer than expected costs the callers behind it no compute where they are late already."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    late = asyncio.create_task(batcher.score(pairs_of([8], token=66), CallContext(clock.now + 0.1)))
    await _queued(batcher, 1)
    clock.now += 0.2
    model.gate.set()
    with pytest.raises(DeadlineTooShort, match="in time"):
        await late
    await first
    assert len(model.batches) == 1


async def test_a_full_queue_says_when_to_try_again(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Past the bound the caller is told to wait as long as the queued work takes."""
    batcher = batcher_of(max_queued_pairs=10)
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    waiting = asyncio.create_task(batcher.score(pairs_of([100] * 10), FAR))
    await _queued(batcher, 10)
    with pytest.raises(Overloaded, match="10 of 10 pairs wait") as refused:
        await batcher.score(pairs_of([8]), FAR)
    assert refused.value.retry_after_s == pytest.approx(1.0)
    model.gate.set()
    await asyncio.gather(first, waiting)


async def test_a_batch_of_several_lengths_is_timed_once(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """However many parts of a batch are a caller's, it took as long as it took."""
    batcher = batcher_of(CostModel(100.0, 0.001))
    model.gate.clear()
    scores = asyncio.create_task(batcher.score(pairs_of([8, 7, 6]), FAR))
    await _begun(model)
    clock.now += 0.25
    model.gate.set()
    assert (await scores).infer_ms == pytest.approx(250)
    assert len(model.batches) == 1


async def test_timings_are_those_of_the_callers_batches(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Waiting and reading are told apart."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    second = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _queued(batcher, 1)
    clock.now += 0.25
    model.gate.set()
    assert (await first).infer_ms == pytest.approx(250)
    assert (await first).queue_wait_ms == 0
    assert (await second).queue_wait_ms == pytest.approx(250)


async def test_affordable_is_what_score_accepts(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """As many pairs as are called affordable are admitted, and one more is not."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    call = CallContext(clock.now + 0.1)
    count = batcher.affordable(np.full(50, 10), call)
    assert count == 9  # 100 ms less the 8 that run
    with pytest.raises(DeadlineTooShort):
        await batcher.score(pairs_of([10] * (count + 1)), call)
    admitted = asyncio.create_task(batcher.score(pairs_of([10] * count), call))
    await _queued(batcher, count)
    assert batcher.affordable(np.full(50, 10), call) == 0
    model.gate.set()
    await asyncio.gather(first, admitted)


async def test_batch_work_waits_for_interactive_work(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """However early its deadline, batch work is read when nobody waits."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    batch = asyncio.create_task(batcher.score(pairs_of([8], token=66), CallContext(1e6 - 1, Priority.BATCH)))
    await _queued(batcher, 1)
    interactive = asyncio.create_task(batcher.score(pairs_of([8], token=77), FAR))
    await _queued(batcher, 2)
    model.gate.set()
    await asyncio.gather(first, batch, interactive)
    assert [int(rows[0, 4 - 1]) for rows in model.batches] == [1, 77, 66]


async def test_closing_fails_what_waits_and_refuses_what_comes(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """A closed batcher leaves no caller waiting."""
    batcher = batcher_of()
    model.gate.clear()
    running = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _begun(model)
    waiting = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await _queued(batcher, 1)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(NotReady):
        await waiting
    model.gate.set()
    assert (await running).failed == 0
    await closing
    with pytest.raises(NotReady):
        await batcher.score(pairs_of([8]), FAR)


async def test_batches_are_reported(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], reports: list[BatchReport]
):
    """The observer learns rows, tokens and padding of each batch."""
    batcher = batcher_of()
    await batcher.score(pairs_of([6, 8]), FAR)
    assert [(one.rows, one.tokens, one.padded_tokens, one.failed) for one in reports] == [(1, 8, 8, 0), (1, 6, 6, 0)]


async def test_what_was_read_by_the_deadline_is_answered(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Who takes what is read gets it at the deadline, though a batch hangs; what comes later is not in it."""
    batcher = batcher_of(padded_tokens=8)
    model.gate.clear()
    call = asyncio.create_task(batcher.score(pairs_of([8, 9]), CallContext(clock.now + 0.05), allow_partial=True))
    scores = await call
    assert np.isnan(scores.logits).all()
    assert batcher.queued_pairs == 0
    model.gate.set()
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0
    assert np.isnan(scores.logits).all()


async def test_a_hanging_batch_keeps_nobody_past_the_deadline(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Who wants all or nothing is told that it is nothing."""
    batcher = batcher_of()
    model.gate.clear()
    with pytest.raises(DeadlineTooShort, match="in time"):
        await batcher.score(pairs_of([8]), CallContext(clock.now + 0.05))


async def test_half_a_job_is_answered_where_the_rest_expires(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Rows that ran count, those for which no time is left are NaN, and the next calls are planned more carefully."""
    batcher = batcher_of(padded_tokens=40)
    pairs = pairs_of([20, 20, 10, 10])
    model.gate.clear()
    call = asyncio.create_task(batcher.score(pairs, CallContext(clock.now + 60.0), allow_partial=True))
    await _begun(model)
    clock.now += 60.02
    model.gate.set()
    scores = await call
    np.testing.assert_array_equal(scores.logits, [*_sums(pairs)[:2], np.nan, np.nan])
    assert scores.delivered == 2
    assert batcher._queue.capacity.overrun.seconds == pytest.approx(0.02)
    assert len(model.batches) == 1
