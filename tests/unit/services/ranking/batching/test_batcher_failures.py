"""The batcher if a model fails, a caller is cancelled or the batcher is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import NotReady
from common.gpu.failures import DeviceLost, OutOfDeviceMemory
from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.memory_budget import HOLD_S
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs
from services.ranking.request import CallContext
from testing.batching import token_sums, wait_for_batches, wait_for_queued

FAR = CallContext(1e6)


async def test_a_failing_pair_fails_alone(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs], reports: list[BatchReport]
):
    """The pair on which the model raises gets NaN; the other pairs of its batch get their scores."""
    model.poison = 5
    pairs = pairs_of([8] * 9)
    scores = await batcher_of().score(pairs, FAR)
    expected = np.array(token_sums(pairs))
    expected[4] = np.nan
    np.testing.assert_array_equal(scores.logits, expected)
    assert scores.failed == 1
    assert reports[-1].failed == 1


async def test_a_model_that_always_fails_is_an_error(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """If the model fails on every pair, the caller gets an error, and the next caller is served again."""
    model.poison = 101
    batcher = batcher_of()
    with pytest.raises(RuntimeError, match="every pair"):
        await batcher.score(pairs_of([8, 8]), FAR)
    model.poison = -1
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0


async def test_an_answer_of_the_wrong_shape_is_a_failure(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], monkeypatch: pytest.MonkeyPatch
):
    """Logits that cannot be assigned to pairs are dropped."""
    batcher = batcher_of()
    monkeypatch.setattr(batcher, "_model", lambda ids, _mask, _types: np.zeros(len(ids) + 1, np.float32))
    with pytest.raises(RuntimeError, match="every pair"):
        await batcher.score(pairs_of([8, 8]), FAR)


async def test_a_fault_outside_the_model_does_not_stop_the_threads(
    batcher_of: Callable[..., Batcher], pairs_of: Callable[..., TokenPairs], monkeypatch: pytest.MonkeyPatch
):
    """If a batch cannot be assembled, its callers get the error, and later callers are served."""
    batcher = batcher_of()
    with monkeypatch.context() as patch:
        patch.setattr(ModelInputs, "from_pairs", _no_memory)
        with pytest.raises(MemoryError):
            await batcher.score(pairs_of([8, 8]), FAR)
    assert (await batcher.score(pairs_of([8]), FAR)).failed == 0


def _no_memory(*_parts: Any) -> None:
    raise MemoryError


async def test_pairs_of_a_cancelled_caller_are_not_read(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """The waiting pairs of a cancelled caller are dropped, and the other callers are answered."""
    batcher = batcher_of()
    model.gate.clear()
    first = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    gone = asyncio.create_task(batcher.score(pairs_of([8], token=66), FAR))
    stays = asyncio.create_task(batcher.score(pairs_of([8], token=77), FAR))
    await wait_for_queued(batcher, 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert batcher.queued_pairs == 1
    model.gate.set()
    await first
    assert (await stays).logits.tolist() == token_sums(pairs_of([8], token=77))
    assert not any((batch == 66).any() for batch in model.batches)


async def test_a_caller_cancelled_while_its_pairs_run_does_not_affect_others(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """A result without a caller is dropped."""
    batcher = batcher_of()
    model.gate.clear()
    gone = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    gone.cancel()
    model.gate.set()
    assert (await batcher.score(pairs_of([9]), FAR)).failed == 0
    assert gone.cancelled()


async def test_closing_fails_waiting_callers_and_refuses_new_ones(
    batcher_of: Callable[..., Batcher], model: Any, pairs_of: Callable[..., TokenPairs]
):
    """A closed batcher leaves no caller waiting."""
    batcher = batcher_of()
    model.gate.clear()
    running = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_batches(model)
    waiting = asyncio.create_task(batcher.score(pairs_of([8]), FAR))
    await wait_for_queued(batcher, 1)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(NotReady):
        await waiting
    model.gate.set()
    assert (await running).failed == 0
    await closing
    with pytest.raises(NotReady):
        await batcher.score(pairs_of([8]), FAR)


async def test_a_lost_gpu_fails_its_callers_without_another_try(
    batcher_of: Callable[..., Batcher],
    pairs_of: Callable[..., TokenPairs],
    reports: list[BatchReport],
    monkeypatch: pytest.MonkeyPatch,
):
    """A batch on a lost GPU is not halved: the model is called once, and the callers get the error."""
    batcher, calls = batcher_of(), []

    def lost(ids: Any, *_: Any) -> Any:
        calls.append(len(ids))
        raise DeviceLost("the GPU is lost")

    monkeypatch.setattr(batcher, "_model", lost)
    with pytest.raises(DeviceLost):
        await batcher.score(pairs_of([8] * 9), FAR)
    assert calls == [9]
    assert reports[-1].failed == 9


async def test_too_little_memory_makes_later_batches_smaller_for_a_while(
    batcher_of: Callable[..., Batcher],
    model: Any,
    clock: Any,
    pairs_of: Callable[..., TokenPairs],
    monkeypatch: pytest.MonkeyPatch,
):
    """Every pair is read in smaller batches; the next batches are small from the start, and large again later."""
    batcher, failed = batcher_of(padded_tokens=64), []

    def small_only(ids: Any, *rest: Any) -> Any:
        if ids.size > 32:
            failed.append(ids.size)
            raise OutOfDeviceMemory("no memory")
        return model(ids, *rest)

    monkeypatch.setattr(batcher, "_model", small_only)
    pairs = pairs_of([8] * 8)
    for _ in range(2):
        assert (await batcher.score(pairs, FAR)).logits.tolist() == token_sums(pairs)
    assert failed == [64]
    clock.now += HOLD_S
    await batcher.score(pairs, FAR)
    assert failed == [64, 64]
