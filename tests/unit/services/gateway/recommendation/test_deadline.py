"""One deadline, divided among the stages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.recommendation.deadline import Deadline, DeadlineShares

_SECONDS = st.floats(0, 100)
_SHARE = st.floats(0.01, 1)


@given(_SECONDS, _SECONDS, st.lists(st.tuples(_SHARE, st.floats(0, 1)), max_size=5))
def test_stages_within_their_timeouts_leave_the_reserve(
    total_s: float, reserve_s: float, stages: list[tuple[float, float]]
):
    """Whatever part of their timeouts the stages spend, the reserve is left if the call had time for it."""
    deadline = Deadline.from_remaining(0.0, total_s, DeadlineShares(reserve_s=reserve_s))
    now_s = 0.0
    for share, spent in stages:
        now_s += deadline.timeout_s(now_s, share) * spent
    assert now_s <= max(0.0, total_s - reserve_s) + 1e-9


@given(_SECONDS, _SECONDS, _SHARE)
def test_a_timeout_is_never_negative_and_leaves_the_reserve(now_s: float, total_s: float, share: float):
    """A timeout is at least 0 and at most the time left less the reserve."""
    timeout_s = Deadline(total_s, 0.5).timeout_s(now_s, share)
    assert 0 <= timeout_s <= max(0.0, total_s - now_s - 0.5)


def test_unspent_time_goes_to_the_stages_after():
    """Ranking gets all the time left less the reserve, so more if retrieval was fast."""
    deadline = Deadline.from_remaining(10.0, 1.0, DeadlineShares(reserve_s=0.1))
    assert deadline.timeout_s(10.0, 0.5) == pytest.approx(0.45)
    assert deadline.timeout_s(10.1, 1.0) == pytest.approx(0.8)


def test_a_call_without_a_deadline_has_the_default():
    """A call without a deadline gets the default timeout."""
    assert Deadline.from_remaining(5.0, None, DeadlineShares(default_timeout_s=0.7)).ends_at_s == pytest.approx(5.7)


@given(_SECONDS, st.floats(0, 10), st.floats(0, 10))
def test_lateness_raises_the_reserve_up_to_half_of_the_time(total_s: float, reserve_s: float, lateness_s: float):
    """The lateness of answers is added to the reserve, up to half of the call's time."""
    deadline = Deadline.from_remaining(0.0, total_s, DeadlineShares(reserve_s=reserve_s), lateness_s)
    assert deadline.reserve_s == pytest.approx(reserve_s + min(lateness_s, total_s / 2))
    assert deadline.stages_end_s == pytest.approx(total_s - deadline.reserve_s)
