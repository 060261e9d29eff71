"""The workers' capacity."""

from __future__ import annotations

import pytest

from services.ranking.batching.capacity import BatchLimits, Capacity
from services.ranking.batching.cost_model import CostModel


def _capacity(**limits: int) -> Capacity:
    """A row of 10 tokens costs 10 ms, a full batch of them 100 ms and 5 ms of overhead."""
    capacity = Capacity(CostModel(5.0, 1.0), BatchLimits(**{"padded_tokens": 100, **limits}))
    capacity.longest = 10
    return capacity


def test_workers_share_the_work():
    """Two workers do two seconds of work in a second, one alone does one."""
    capacity = _capacity(workers=2)
    assert capacity.ms_per_s == 2_000.0
    assert capacity.seconds(500.0) == 0.25
    assert capacity.worker_seconds(500.0) == 0.5


def test_slow_batches_shrink_the_capacity():
    """If batches take twice as long as fitted, half as much work is done."""
    cost = CostModel(5.0, 1.0)
    capacity = Capacity(cost, BatchLimits())
    for _ in range(500):
        cost.observe(10.0, 20.0)
    assert capacity.ms_per_s == pytest.approx(500.0, rel=0.01)


def test_the_largest_batch_is_full_of_the_longest_pairs():
    """Ten rows of ten tokens; a pair beyond the budget is a batch of its own."""
    capacity = _capacity()
    assert capacity.largest_batch_ms() == 105.0
    capacity.longest = 300
    assert capacity.largest_batch_ms() == 305.0


@pytest.mark.parametrize(("spare_ms", "usable_ms"), [(1_000.0, 790.0), (210.0, 70.0), (-30.0, -10.0)])
def test_the_last_batches_may_leave_workers_idle(spare_ms: float, usable_ms: float):
    """Of three workers two may idle for a batch at the end, but one of them always works."""
    assert _capacity(workers=3).usable_ms(spare_ms) == pytest.approx(usable_ms)


def test_work_ends_earlier_if_recent_work_ended_late():
    """The recent overrun is kept back, at most a quarter of the time."""
    capacity = _capacity()
    capacity.overrun.observe(0.02)
    assert capacity.planned_end(1.0, 0.0, others_wait=False) == pytest.approx(0.98)
    assert capacity.planned_end(0.04, 0.0, others_wait=False) == pytest.approx(0.03)


def test_some_batches_are_kept_back_if_others_wait():
    """Two spare batches of 105 ms."""
    capacity = _capacity(spare_batches=2)
    assert capacity.planned_end(10.0, 0.0, others_wait=False) == 10.0
    assert capacity.planned_end(10.0, 0.0, others_wait=True) == pytest.approx(9.79)


def test_a_deadline_that_has_passed_is_not_moved():
    """Nothing is kept back of no time."""
    assert _capacity().planned_end(1.0, 2.0, others_wait=True) == 1.0
