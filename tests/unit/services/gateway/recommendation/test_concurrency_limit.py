"""How many calls are taken at a time, and what is learnt from late ones."""

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
    """Beyond the limit a call is refused with when to come back, and taken once there is room."""
    load = AdaptiveConcurrencyLimit(8)
    with ExitStack() as calls:
        for _ in range(8):
            calls.enter_context(load.call())
        with pytest.raises(Overloaded, match="8 calls are under way") as refused, load.call():
            pass
        assert refused.value.retry_after_s > 0
    with load.call():
        pass


def test_a_starved_call_lowers_the_limit_below_what_was_under_way():
    """The limit falls from the calls that were too many, however high it was."""
    load = AdaptiveConcurrencyLimit(1_000)
    with ExitStack() as calls:
        for _ in range(100):
            calls.enter_context(load.call())
        load.observe(time.monotonic(), 0.5, starved=True)
    assert 8 <= load.limit < 100


def test_calls_that_starved_together_lower_the_limit_once():
    """Calls that began before the limit fell say nothing of the lower limit."""
    load = AdaptiveConcurrencyLimit(100)
    began = time.monotonic()
    with ExitStack() as calls:
        for _ in range(100):
            calls.enter_context(load.call())
        load.observe(began, 0.5, starved=True)
        once = load.limit
        for _ in range(50):
            load.observe(began, 0.5, starved=True)
    assert load.limit == once


def test_the_limit_recovers_with_calls_in_time():
    """About as many calls in time as the limit raise it by one, up to the most."""
    load = AdaptiveConcurrencyLimit(20)
    load.observe(time.monotonic(), 0.5, starved=True)
    lowest = load.limit
    for _ in range(lowest + 1):
        load.observe(time.monotonic(), _IN_TIME, starved=False)
    assert load.limit == lowest + 1
    for _ in range(1_000):
        load.observe(time.monotonic(), _IN_TIME, starved=False)
    assert load.limit == 20


@given(st.lists(st.tuples(st.floats(-1, 10), st.booleans()), max_size=200))
def test_bounds_hold_whatever_happens(ends: list[tuple[float, bool]]):
    """The limit stays between the least and the most, and what is learnt never falls below zero."""
    load = AdaptiveConcurrencyLimit(64)
    for late_s, starved in ends:
        load.observe(time.monotonic(), late_s, starved=starved)
        assert 8 <= load.limit <= 64
        assert 0 <= load.late_s <= 10


def test_lateness_is_learnt_at_once_and_forgotten_slowly():
    """The worst lateness counts from the next call on, and half of it is gone after 32 calls in time."""
    load = AdaptiveConcurrencyLimit(8)
    load.observe(time.monotonic(), 0.2, starved=False)
    assert load.late_s == pytest.approx(0.2)
    for _ in range(32):
        load.observe(time.monotonic(), _IN_TIME, starved=False)
    assert load.late_s == pytest.approx(0.1)
