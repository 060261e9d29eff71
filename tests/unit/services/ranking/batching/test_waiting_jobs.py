"""The jobs that wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job
from services.ranking.batching.waiting_jobs import WaitingJobs
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext


@pytest.fixture
def job_of(pairs_of: Callable[..., TokenPairs]) -> Callable[..., Job]:
    """Make jobs of pairs, a millisecond a token, with keys for both orders."""

    def make(lengths: list[int], planned_end: float = 0.0, finish_time: float = 0.0) -> Job:
        queue = BatchQueue(CostModel(0.0, 1.0), BatchLimits())
        job = queue.make_job(pairs_of(lengths), CallContext(1e6), now=0.0, complete=lambda _error: None)
        job.deadline_key, job.fair_share_key = (0, planned_end, 0), (0, finish_time, 0)
        return job

    return make


def test_the_totals_are_those_of_the_jobs(job_of: Callable[..., Job]):
    """Pairs and cost grow with each job and fall when one is removed."""
    waiting, one, other = WaitingJobs(), job_of([10, 20]), job_of([30], planned_end=1.0, finish_time=1.0)
    waiting.add(one)
    waiting.add(other)
    assert (waiting.pairs, waiting.cost_ms) == (3, 60.0)
    waiting.remove(one)
    assert (waiting.pairs, waiting.cost_ms) == (1, 30.0)
    assert (one.waiting, one.waiting_ms, one.runs) == (0, 0.0, {})
    assert list(waiting) == [other]


def test_the_orders_are_independent(job_of: Callable[..., Job]):
    """One job may come first by its deadline and another by its caller's share."""
    waiting = WaitingJobs()
    urgent, small = job_of([10], planned_end=1.0, finish_time=9.0), job_of([10], planned_end=9.0, finish_time=1.0)
    waiting.add(urgent)
    waiting.add(small)
    assert (waiting.by_deadline.first(), waiting.by_fair_share.first()) == (urgent, small)


def test_rows_move_into_a_batch(job_of: Callable[..., Job]):
    """A batch gets the first rows of a run, and the job keeps the rest until nothing is left."""
    waiting, job, batch = WaitingJobs(), job_of([20, 20, 20, 10]), Batch(started=0.0)
    waiting.add(job)
    long, short = max(job.runs), min(job.runs)
    waiting.move_rows(job, long, 2, batch)
    assert (batch.rows, batch.longest, batch.read_tokens, batch.cost_ms) == (2, 20, 40, 40.0)
    assert (job.waiting, job.runs[long], waiting.pairs) == (2, (2, 3), 2)
    waiting.move_rows(job, long, 99, batch)
    assert waiting.by_deadline.first(long) is None
    assert waiting.by_deadline.first() is job
    waiting.move_rows(job, short, 1, batch)
    assert [(rows.start, rows.stop) for rows in batch.slices] == [(0, 2), (2, 3), (3, 4)]
    assert (waiting.pairs, waiting.cost_ms, list(waiting)) == (0, 0.0, [])
    assert batch.padded_tokens == 80
