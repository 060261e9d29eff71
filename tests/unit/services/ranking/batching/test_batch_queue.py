"""Which jobs come next, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.errors import DeadlineTooShort
from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, Priority
from testing.batching import drain, new_queue

FAR = 1e6


def _callers(queue: BatchQueue, now: float = 0.0) -> Any:
    return [part.job.caller for batch in drain(queue, now) for part in batch.slices]


def test_small_jobs_pass_large_ones(put: Any):
    """10 pairs do not wait for another caller's 2,000."""
    queue = new_queue(token_ms=0.01)
    put(queue, [20] * 2_000, caller="large")
    put(queue, [20] * 10, caller="small", now=0.01)
    assert _callers(queue, 0.01)[0] == "small"


def test_large_jobs_are_not_starved(put: Any):
    """A large job is served although small ones keep coming."""
    queue = new_queue()
    put(queue, [20] * 50, caller="large")  # a second of work
    for number in range(10):
        put(queue, [20], caller=f"small {number}", now=number * 0.2)
    callers = _callers(queue, 2.0)
    assert callers.index("large") == 5


def test_a_flood_waits_behind_other_callers(put: Any):
    """Of a caller with 20 queued requests, one is served before a newcomer, not all."""
    queue = new_queue()
    for _ in range(20):
        put(queue, [50], caller="flood")
    put(queue, [50], caller="newcomer", now=0.01)
    assert "newcomer" in _callers(queue, 0.01)[:2]


def test_alike_jobs_are_served_in_the_order_they_came(put: Any):
    """Jobs of the same size are finished one after the other, not all at the end."""
    queue = new_queue(padded_tokens=100)
    for number in range(3):
        put(queue, [20] * 10, caller=f"{number}", now=number * 0.001)
    callers = _callers(queue, 0.01)
    assert callers == sorted(callers)


def test_if_time_is_short_the_earliest_deadline_comes_first(put: Any):
    """An urgent job passes an earlier one if fair sharing would make it late."""
    queue = new_queue(padded_tokens=20)
    put(queue, [20] * 2, caller="patient", deadline=10.0)
    put(queue, [20] * 3, caller="urgent", deadline=0.065)
    assert _callers(queue) == ["urgent"] * 3 + ["patient"] * 2


def test_a_job_that_would_make_another_late_is_refused(put: Any):
    """An urgent newcomer is not admitted if a job admitted before would be late."""
    queue = new_queue()
    put(queue, [10] * 10, deadline=0.105)
    with pytest.raises(DeadlineTooShort):
        put(queue, [10], deadline=0.02)
    put(queue, [10], deadline=0.2)


def test_batch_work_does_not_keep_interactive_work_out(put: Any):
    """Admitted work of batch priority does not count against interactive work."""
    queue = new_queue()
    put(queue, [10] * 10, deadline=0.105, priority=Priority.BATCH)
    put(queue, [10] * 5, deadline=0.06)
    with pytest.raises(DeadlineTooShort):
        put(queue, [10], deadline=0.155, priority=Priority.BATCH)


def test_running_batches_count(put: Any):
    """Time that running batches take is not available to a newcomer."""
    queue = new_queue()
    put(queue, [100])
    queue.next_batch(0.0)
    with pytest.raises(DeadlineTooShort):
        put(queue, [10], deadline=0.105)
    put(queue, [10], deadline=0.115, now=0.09)


def test_admission_follows_the_correction(put: Any):
    """If work takes twice as long as expected, half as much is admitted."""
    queue = new_queue()
    for _ in range(500):
        queue.cost.observe(10.0, 20.0)
    with pytest.raises(DeadlineTooShort):
        put(queue, [10] * 6, deadline=0.1)
    put(queue, [10] * 4, deadline=0.1)


def test_the_queue_forgets_callers(put: Any):
    """A caller whose turn has passed is not remembered: memory stays flat over many callers."""
    queue = new_queue()
    for number in range(100):
        put(queue, [10], caller=f"{number}", now=float(number))
        list(drain(queue, float(number)))
    assert len(queue._fair_share.finish_times) == 1


def test_work_that_ended_late_is_planned_to_end_sooner(put: Any):
    """The recent overrun is kept back, at most a quarter of a job's time."""
    queue = new_queue()
    queue.capacity.overrun.observe(0.02)
    assert put(queue, [10], deadline=1.0).planned_end == pytest.approx(0.98)
    assert put(queue, [10], deadline=0.04).planned_end == pytest.approx(0.03)


def _affordable(queue: Any, deadline: float, share: float, pairs: int = 20) -> Any:
    return queue.affordable(np.arange(1, pairs + 1) * 10.0, deadline, Priority.INTERACTIVE, 0.0, share)


def test_few_pairs_are_not_worth_waiting_for_behind_others(put: Any):
    """With 60 of 100 ms taken by others, 4 of 10 pairs are affordable, or none if half of them are required."""
    queue = new_queue()
    put(queue, [60], deadline=0.1)
    assert _affordable(queue, 0.1, share=0.4) == 4
    assert _affordable(queue, 0.1, share=0.5) == 0


def test_few_pairs_are_read_if_nobody_else_waits():
    """A short deadline on an idle server reads what it can, whatever the share."""
    assert _affordable(new_queue(), 0.03, share=1.0) == 3


def test_the_wait_is_until_enough_work_is_done(put: Any):
    """The wait ends when pairs of typical cost fit behind the work that waits."""
    queue = new_queue()
    put(queue, [10] * 10, deadline=0.1)
    assert queue.wait_s(3, 0.12, Priority.INTERACTIVE, 0.0) == pytest.approx(0.01, abs=1e-6)
    assert queue.wait_s(2, 0.12, Priority.INTERACTIVE, 0.0) == 0.0


def test_a_job_that_allows_partial_results_waits_for_its_last_row(pairs_of: Callable[..., TokenPairs]):
    """It expires when there is no time for its shortest row, and its batches end by its deadline."""
    queue = new_queue()
    pairs = pairs_of([10] * 8)
    job = queue.make_job(pairs, CallContext(0.045), now=0.0, complete=lambda _error: None, allow_partial=True)
    queue.admit(job, 0.0)
    assert queue.expire(0.0) == []
    batch = queue.next_batch(0.0)
    assert batch.rows == 4
    queue.finish(batch, 0.04)
    assert queue.expire(0.03) == []
    assert queue.expire(0.04) == [job]
    assert (job.waiting, job.unfinished, queue.pairs) == (0, 4, 0)


def test_if_others_wait_work_is_planned_to_end_some_batches_early(put: Any):
    """A job alone may be read until its deadline; one behind another is planned to end four batches before it."""
    queue = new_queue(token_ms=1.0, padded_tokens=100, spare_batches=4)
    alone = put(queue, [20] * 5, deadline=10.0)
    behind = put(queue, [20] * 5, deadline=10.0)
    assert alone.planned_end == 10.0
    assert behind.planned_end == pytest.approx(10.0 - 4 * 0.1)
    assert behind.deadline == 10.0


def test_spare_batches_leave_most_of_the_time(put: Any):
    """If four batches are more than a quarter of the time, a quarter is kept back."""
    queue = new_queue(token_ms=1.0, padded_tokens=100, spare_batches=4)
    put(queue, [20] * 5, deadline=10.0)
    assert put(queue, [20], deadline=0.8).planned_end == pytest.approx(0.6)
