"""The order in which jobs are served."""

from __future__ import annotations

from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking.batching.job_order import FairShareClock, JobOrder


def _job(key: tuple[int, float, int], buckets: Any = (1,)) -> Any:
    return SimpleNamespace(key=key, runs=dict.fromkeys(buckets, (0, 1)))


@pytest.fixture
def order() -> JobOrder:
    return JobOrder(attrgetter("key"))


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 9)), max_size=20), st.data())
def test_jobs_stay_sorted_while_some_leave(keys: list[tuple[int, float]], data: st.DataObject):
    """After any additions and removals the jobs that are left are iterated by their key."""
    order: JobOrder = JobOrder(attrgetter("key"))
    jobs = [_job((*key, serial)) for serial, key in enumerate(keys)]
    for job in jobs:
        order.add(job)
    gone = [job for job in jobs if data.draw(st.booleans())]
    for job in gone:
        order.remove(job)
    left = sorted(job.key for job in jobs if job not in gone)
    assert [job.key for job in order] == left  # type: ignore[attr-defined]
    assert (order.first() is None) == (not left)


def test_each_bucket_has_its_own_first_job(order: JobOrder):
    """A job that leaves one bucket stays in the others and in the whole order."""
    one, other = _job((0, 1.0, 0), buckets=(3, 5)), _job((0, 2.0, 1), buckets=(5,))
    order.add(other)
    order.add(one)
    assert (order.first(), order.first(3), order.first(5), order.first(4)) == (one, one, one, None)
    order.remove_from_bucket(one, 5)
    assert (order.first(), order.first(3), order.first(5)) == (one, one, other)


def test_a_callers_work_finishes_one_job_after_the_other():
    """Work of one caller adds up from now on; another caller starts from now."""
    clock = FairShareClock()
    assert clock.advance("a", 2.0, now=10.0) == 12.0
    assert clock.advance("a", 3.0, now=11.0) == 15.0
    assert clock.advance("b", 1.0, now=11.0) == 12.0
    assert clock.advance("a", 1.0, now=20.0) == 21.0


def test_callers_whose_time_has_passed_are_forgotten():
    """Memory does not grow with the number of callers."""
    clock = FairShareClock()
    for number in range(100):
        clock.advance(f"{number}", 0.5, now=float(number))
    assert list(clock.finish_times) == ["99"]


def test_order_takes_any_key(order: JobOrder):
    """Lower priority values come first, whatever the time."""
    batch, interactive = _job((1, 1.0, 0)), _job((0, 9.0, 1))
    order.add(batch)
    order.add(interactive)
    assert list(order) == [interactive, batch]
