"""One deadline, split over the stages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.recommendation.deadline import Deadline, DeadlineShares

_SECONDS = st.floats(0, 100)


_SHARE = st.floats(0.01, 1)


@given(_SECONDS, _SECONDS, st.lists(st.tuples(_SHARE, st.floats(0, 1)), max_size=5))
def test_stages_that_keep_to_their_parts_leave_the_reserve(
    total_s: float, reserve_s: float, stages: list[tuple[float, float]]
):
    """However many stages spend however much of their parts, the reserve is left where there was time for it."""
    deadline = Deadline.of_call(0.0, total_s, DeadlineShares(reserve_s=reserve_s))
    now_s = 0.0
    for share, spent in stages:
        now_s += deadline.part_s(now_s, share) * spent
    assert now_s <= max(0.0, total_s - reserve_s) + 1e-9


@given(_SECONDS, _SECONDS, _SHARE)
def test_a_part_is_never_negative_and_never_the_whole(now_s: float, total_s: float, share: float):
    """A part is at least 0 and at most what is left less the reserve."""
    part_s = Deadline(total_s, 0.5).part_s(now_s, share)
    assert 0 <= part_s <= max(0.0, total_s - now_s - 0.5)


def test_unspent_time_goes_to_the_stages_after():
    """Ranking gets all that is left less the reserve, and so more where retrieval was quick."""
    deadline = Deadline.of_call(10.0, 1.0, DeadlineShares(reserve_s=0.1))
    assert deadline.part_s(10.0, 0.5) == pytest.approx(0.45)
    assert deadline.part_s(10.1, 1.0) == pytest.approx(0.8)


def test_a_call_without_a_deadline_has_the_default():
    """The default stands in for a deadline that the caller did not set."""
    assert Deadline.of_call(5.0, None, DeadlineShares(default_s=0.7)).ends_at_s == pytest.approx(5.7)


@given(_SECONDS, st.floats(0, 10), st.floats(0, 10))
def test_lateness_raises_the_reserve_up_to_half_of_the_time(total_s: float, reserve_s: float, late_s: float):
    """What answers were late by is kept back too, and never more than half of the call's time for it."""
    deadline = Deadline.of_call(0.0, total_s, DeadlineShares(reserve_s=reserve_s), late_s)
    assert deadline.reserve_s == pytest.approx(reserve_s + min(late_s, total_s / 2))
    assert deadline.planned_s == pytest.approx(total_s - deadline.reserve_s)
