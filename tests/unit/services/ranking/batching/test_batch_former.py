"""How batches are filled, as a queue forms them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Job
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, Priority

FAR = 1e6


def _queue(batch_ms: float = 0.0, token_ms: float = 1.0, **limits: Any) -> Any:
    return BatchQueue(CostModel(batch_ms, token_ms), BatchLimits(**{"spare_batches": 0, **limits}))


@pytest.fixture
def put(pairs_of: Callable[..., TokenPairs]):
    """Queue pairs of given lengths for a caller."""

    def queue_up(
        queue: BatchQueue,
        lengths: list[int],
        *,
        deadline: float = FAR,
        caller: str = "",
        now: float = 0.0,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Job:
        call = CallContext(deadline, priority, caller)
        job = queue.make_job(pairs_of(lengths), call, now=now, complete=lambda _error: None)
        queue.admit(job, now)
        return job

    return queue_up


def _drain(queue: BatchQueue, now: float = 0.0) -> None:
    """Take every batch, each run for as long as it costs."""
    while (batch := queue.next_batch(now)) is not None:
        now += batch.cost_ms / 1e3
        queue.finish(batch, now)
        yield batch


def test_a_batch_has_rows_of_equal_length(put: Any):
    """Without overhead, rows are not padded to longer ones, even if they are one token shorter."""
    queue = _queue(padded_tokens=256)
    put(queue, [60, 12, 11, 60, 12])
    assert [(batch.rows, batch.longest) for batch in _drain(queue)] == [(2, 60), (2, 12), (1, 11)]


def test_shorter_rows_join_if_that_makes_the_tokens_of_a_batch_cheaper(put: Any):
    """With overhead two rows of 20 cost 1.2 a token: shorter rows join if padding makes theirs no dearer."""
    for shorter, batches in ((17, [4, 3]), (16, [2, 2, 3])):
        queue = _queue(token_ms=1.0, batch_ms=8.0, padded_tokens=512)
        put(queue, [20, 20, shorter, shorter, 5, 5, 5])
        assert [batch.rows for batch in _drain(queue)] == batches


def test_short_rows_join_if_padding_costs_less_than_a_batch(put: Any):
    """If overhead dominates, one batch is better than three."""
    queue = _queue(batch_ms=1_000.0)
    put(queue, [60, 12, 58, 9, 11])
    assert [(batch.rows, batch.longest) for batch in _drain(queue)] == [(5, 60)]


def test_a_batch_has_at_most_its_tokens(put: Any):
    """Rows times the longest row stays within the limit."""
    queue = _queue(padded_tokens=100)
    put(queue, [30] * 10)
    assert [batch.padded_tokens for batch in _drain(queue)] == [90, 90, 90, 30]


def test_a_row_beyond_the_limit_runs_alone(put: Any):
    """The longest pair is served too."""
    queue = _queue(padded_tokens=100)
    put(queue, [200, 30])
    assert [(batch.rows, batch.longest) for batch in _drain(queue)] == [(1, 200), (1, 30)]


def test_a_short_queue_is_shared_between_the_workers(put: Any):
    """One caller's pairs are divided between two workers, so that both end at the same time."""
    queue = _queue(workers=2)
    put(queue, [10] * 8)
    assert [queue.next_batch(0.0).rows, queue.next_batch(0.0).rows] == [4, 4]
