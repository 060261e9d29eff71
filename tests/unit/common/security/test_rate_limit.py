"""Limits of each caller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Overloaded
from common.security import rate_limit
from common.security.callers import CallerLimits
from common.security.rate_limit import CallerLimiter


class Clock:
    """A clock that a test sets."""

    now_s = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def _is_admitted(limiter: CallerLimiter, name: str, limits: CallerLimits) -> bool:
    try:
        with limiter.admit(name, limits):
            return True
    except Overloaded:
        return False


def test_a_burst_is_admitted_and_then_the_rate():
    """After a pause the burst passes; then a call passes as soon as the error said, and not before."""
    clock = Clock()
    limiter, limits = CallerLimiter(clock), CallerLimits(calls_per_s=4, burst=3)
    assert [_is_admitted(limiter, "a", limits) for _ in range(4)] == [True, True, True, False]
    with pytest.raises(Overloaded) as error, limiter.admit("a", limits):
        pass
    assert error.value.retry_after_s == pytest.approx(0.25)
    clock.now_s += 0.2
    assert not _is_admitted(limiter, "a", limits)
    clock.now_s += 0.05
    assert _is_admitted(limiter, "a", limits)


def test_callers_do_not_share_limits():
    """One caller's calls leave another's limits untouched."""
    limiter, limits = CallerLimiter(Clock()), CallerLimits(calls_per_s=1)
    assert [_is_admitted(limiter, name, limits) for name in ("a", "a", "b")] == [True, False, True]


def test_calls_in_progress_are_bounded():
    """As many calls are in progress as the limit says; one that ends, or fails, makes room."""
    limiter, limits = CallerLimiter(Clock()), CallerLimits(max_calls=2)
    with limiter.admit("a", limits):
        assert _is_admitted(limiter, "a", limits)
        with pytest.raises(ZeroDivisionError), limiter.admit("a", limits):
            _fail_unless_full(limiter, limits)
        assert _is_admitted(limiter, "a", limits)


def _fail_unless_full(limiter: CallerLimiter, limits: CallerLimits) -> None:
    if not _is_admitted(limiter, "a", limits):
        raise ZeroDivisionError


def test_without_limits_all_is_admitted():
    """A limit of 0 is none."""
    limiter = CallerLimiter(Clock())
    assert all(_is_admitted(limiter, "a", CallerLimits()) for _ in range(1_000))


def test_memory_is_bounded_and_calls_in_progress_are_not_forgotten(monkeypatch: pytest.MonkeyPatch):
    """Callers that are long unused are forgotten; one with a call in progress is still counted."""
    monkeypatch.setattr(rate_limit, "_MAX_CALLERS", 10)
    limiter, limits = CallerLimiter(Clock()), CallerLimits(max_calls=1)
    with limiter.admit("busy", limits):
        assert all(_is_admitted(limiter, f"address {number}", limits) for number in range(100))
        assert not _is_admitted(limiter, "busy", limits)
    assert len(limiter._states) <= 11


@given(
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_more_are_admitted_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]):
    """Over any time, at most the burst and the rate times the time are admitted."""
    clock = Clock()
    limiter, limits = CallerLimiter(clock), CallerLimits(rate, burst)
    admitted = 0
    for pause_s in pauses:
        clock.now_s += pause_s
        admitted += _is_admitted(limiter, "a", limits)
    assert admitted <= burst + rate * sum(pauses) + 1e-6
