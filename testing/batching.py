"""Helpers for tests of ranking's batching: a queue, its batches, and waiting for a batcher's state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch
from services.ranking.pairs.pair_tokens import TokenPairs

_TIMEOUT_S = 30


async def wait_for_batches(model: Any, batches: int = 1) -> None:
    """Wait until a gated model has begun that many further batches."""
    for _ in range(batches):
        if not await asyncio.to_thread(model.began.acquire, timeout=_TIMEOUT_S):
            raise TimeoutError(f"no batch began within {_TIMEOUT_S} s")


async def wait_for_queued(batcher: Batcher, pairs: int) -> None:
    """Let the tasks run until ``pairs`` pairs wait."""
    while batcher.queued_pairs != pairs:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


def token_sums(pairs: TokenPairs) -> list[float]:
    """Return the scores that a gated model gives: the sum of each pair's tokens."""
    return [float(pairs.rows.row(row).sum()) for row in range(len(pairs))]


def new_queue(batch_ms: float = 0.0, token_ms: float = 1.0, **limits: Any) -> BatchQueue:
    """Return a queue with the given costs and limits, and no batches in reserve."""
    return BatchQueue(CostModel(batch_ms, token_ms), BatchLimits(**{"spare_batches": 0, **limits}))


def drain(queue: BatchQueue, now: float = 0.0) -> Iterator[Batch]:
    """Take every batch, each run for as long as it costs."""
    while (batch := queue.next_batch(now)) is not None:
        now += batch.cost_ms / 1e3
        queue.finish(batch, now)
        yield batch
