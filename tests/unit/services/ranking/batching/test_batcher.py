"""The batcher: scores, shared batches and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.cost_model import CostModel
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, Priority
from testing.batching import token_sums, wait_for_batches, wait_for_queued

FAR = CallContext(1e6)


async def test_scores_come_back_in_the_callers_order(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs]
):
    """Sorting by length and cutting into batches does not show in the answer."""
    pairs = pairs_of([30, 5, 60, 5, 31, 8, 200, 9])
    scores = await batcher_of(padded_tokens=64).score(pairs, FAR)
    assert scores.logits.tolist() == token_sums(pairs)
    assert scores.padded_tokens >= pairs.lengths.sum()


async def test_no_pairs_is_no_work(batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]):
    """Without pairs the model is not run."""
    scores = await batcher_of().score(pairs_of([]), CallContext(0.0))
    assert scores.logits.shape == (0,)
    assert model.batches == []


async def test_callers_share_a_batch_if_overhead_dominates(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Pairs of several callers run together, and each gets its own."""
    batcher = batcher_of(CostModel(100.0, 0.001))
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    others = [asyncio.create_task(batcher.score(pairs_of([8, 8], token=10 * n), FAR)) for n in range(1, 4)]
    await wait_for_queued(batcher, 6)
    model.gate.set()
    await first
    for number, other in enumerate(others, start=1):
        assert (await other).logits.tolist() == token_sums(pairs_of([8, 8], token=10 * number))
    assert [len(batch) for batch in model.batches] == [1, 6]


async def test_batch_work_waits_for_interactive_work(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """Work of batch priority waits for interactive work, however early its deadline is."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    batch = asyncio.create_task(batcher.score(pairs_of([8], token=66), CallContext(1e6 - 1, Priority.BATCH)))
    await wait_for_queued(batcher, 1)
    interactive = asyncio.create_task(batcher.score(pairs_of([8], token=77), FAR))
    await wait_for_queued(batcher, 2)
    model.gate.set()
    await asyncio.gather(first, batch, interactive)
    assert [int(rows[0, 4 - 1]) for rows in model.batches] == [1, 77, 66]


async def test_a_batch_of_several_lengths_is_timed_once(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """A batch counts once in a caller's inference time, however many slices of it are the caller's."""
    batcher = batcher_of(CostModel(100.0, 0.001))
    model.gate.clear()
    scores = asyncio.create_task(batcher.score(pairs_of([8, 7, 6]), FAR))
    await wait_for_batches(model)
    clock.now += 0.25
    model.gate.set()
    assert (await scores).infer_ms == pytest.approx(250)
    assert len(model.batches) == 1


async def test_timings_are_those_of_the_callers_batches(
    batcher_of: Callable[..., Batcher], model: Any, clock: Any, pairs_of: Callable[..., TokenPairs]
):
    """Waiting and reading are timed separately."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    second = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_queued(batcher, 1)
    clock.now += 0.25
    model.gate.set()
    assert (await first).infer_ms == pytest.approx(250)
    assert (await first).queue_wait_ms == 0
    assert (await second).queue_wait_ms == pytest.approx(250)


async def test_batches_are_reported(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], reports: list[BatchReport]
):
    """The observer is called with rows, tokens and padding of each batch."""
    batcher = batcher_of()
    await batcher.score(pairs_of([6, 8]), FAR)
    assert [(one.rows, one.tokens, one.padded_tokens, one.failed) for one in reports] == [(1, 8, 8, 0), (1, 6, 6, 0)]
