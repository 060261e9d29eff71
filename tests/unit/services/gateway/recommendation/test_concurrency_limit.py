"""The adaptive limit on concurrent calls."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Overloaded
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit

_IN_TIME = -0.1


def test_one_call_too_many_is_refused_until_another_ends():
    """A call beyond the limit is refused with a retry time, and admitted once another has ended."""
    limit = AdaptiveConcurrencyLimit(8)
    with ExitStack() as admitted:
        for _ in range(8):
            admitted.enter_context(limit.admit())
        with pytest.raises(Overloaded, match="8 calls are in flight") as refused, limit.admit():
            pass
        assert refused.value.retry_after_s > 0
    with limit.admit():
        pass


def test_a_call_out_of_time_lowers_the_limit_below_the_calls_in_flight():
    """The limit falls from the number of calls in flight, however high it was."""
    limit = AdaptiveConcurrencyLimit(1_000)
    with ExitStack() as admitted:
        for _ in range(100):
            admitted.enter_context(limit.admit())
        limit.observe_call(time.monotonic(), 0.5, out_of_time=True)
    assert 8 <= limit.limit < 100


def test_calls_that_ran_together_lower_the_limit_once():
    """Calls that started before the limit fell do not lower it again."""
    limit = AdaptiveConcurrencyLimit(100)
    started_s = time.monotonic()
    with ExitStack() as admitted:
        for _ in range(100):
            admitted.enter_context(limit.admit())
        limit.observe_call(started_s, 0.5, out_of_time=True)
        once = limit.limit
        for _ in range(50):
            limit.observe_call(started_s, 0.5, out_of_time=True)
    assert limit.limit == once


def test_the_limit_recovers_with_calls_in_time():
    """About as many calls in time as the limit raise it by one, up to its maximum."""
    limit = AdaptiveConcurrencyLimit(20)
    limit.observe_call(time.monotonic(), 0.5, out_of_time=True)
    lowest = limit.limit
    for _ in range(lowest + 1):
        limit.observe_call(time.monotonic(), _IN_TIME, out_of_time=False)
    assert limit.limit == lowest + 1
    for _ in range(1_000):
        limit.observe_call(time.monotonic(), _IN_TIME, out_of_time=False)
    assert limit.limit == 20


@given(st.lists(st.tuples(st.floats(-1, 10), st.booleans()), max_size=200))
def test_the_bounds_always_hold(calls: list[tuple[float, bool]]):
    """The limit stays within its bounds, and the lateness is never negative."""
    limit = AdaptiveConcurrencyLimit(64)
    for lateness_s, out_of_time in calls:
        limit.observe_call(time.monotonic(), lateness_s, out_of_time=out_of_time)
        assert 8 <= limit.limit <= 64
        assert 0 <= limit.lateness_s <= 10


def test_lateness_rises_at_once_and_fades_slowly():
    """The largest lateness counts from the next call on, and halves in 32 calls in time."""
    limit = AdaptiveConcurrencyLimit(8)
    limit.observe_call(time.monotonic(), 0.2, out_of_time=False)
    assert limit.lateness_s == pytest.approx(0.2)
    for _ in range(32):
        limit.observe_call(time.monotonic(), _IN_TIME, out_of_time=False)
    assert limit.lateness_s == pytest.approx(0.1)
