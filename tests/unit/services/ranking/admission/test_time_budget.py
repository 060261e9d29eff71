"""How the time of a call is divided."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DeadlineTooShort
from services.ranking.admission.time_budget import StepTimes, TimeBudget, usable_s


def _budget(deadline: float, *, features_s: float = 0.0, fusion_s: float = 0.0, reserve_s: float = 0.0) -> TimeBudget:
    return TimeBudget(deadline, 100.0, features_s, fusion_s, reserve_s)


@pytest.mark.parametrize(("remaining_s", "kept_back_s"), [(0.02, 0.002), (0.2, 0.01), (1.0, 0.05), (30.0, 0.05)])
def test_a_share_is_kept_back_for_the_way_back(remaining_s: float, kept_back_s: float):
    """A twentieth of a call's time is kept back, at least two and at most fifty milliseconds."""
    assert remaining_s - usable_s(remaining_s) == pytest.approx(kept_back_s)


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_a_later_deadline_never_means_less_time(one: float, other: float):
    """A call with more time left may use at least as much."""
    assert usable_s(min(one, other)) <= usable_s(max(one, other))


def test_features_end_in_time_for_the_fusion():
    """The fusion's expected time is kept back whole."""
    assert _budget(101.0, fusion_s=0.7).features_end_at == pytest.approx(100.3)


@pytest.mark.parametrize(
    ("fusion_s", "reserve_s", "kept_back_s"), [(0.1, 0.05, 0.1), (0.05, 0.1, 0.1), (9.0, 9.0, 0.25)]
)
def test_reading_ends_in_time_for_fusion_and_answer(fusion_s: float, reserve_s: float, kept_back_s: float):
    """The longer of fusion and reserve is kept back, but at most a quarter of the time left."""
    assert _budget(101.0, fusion_s=fusion_s, reserve_s=reserve_s).reading_ends_at == pytest.approx(101.0 - kept_back_s)


def test_past_the_deadline_nothing_is_kept_back():
    """Reading does not end before a deadline that has passed."""
    budget = _budget(99.0, fusion_s=1.0, reserve_s=1.0)
    assert budget.left_s == -1.0
    assert budget.reading_ends_at == 99.0


def test_features_must_fit():
    """A call without time for its features is refused, one with exactly enough is not."""
    _budget(100.5, features_s=0.5).require_features(20)
    with pytest.raises(DeadlineTooShort, match=r"20 candidates cannot be ranked within 0\.400 s, even without"):
        _budget(100.4, features_s=0.5).require_features(20)


def test_a_budget_is_made_of_what_earlier_calls_took():
    """Features go by candidates, the fusion by pairs; before the first answer five milliseconds are kept back."""
    times = StepTimes()
    times.features.observe(100, 0.2)
    times.fusion.observe(100, 0.4)
    began = time.monotonic()
    budget = times.budget(began + 60.0, candidates=200, pairs=50)
    assert (budget.features_s, budget.fusion_s, budget.reserve_s) == pytest.approx((0.4, 0.2, 0.005))
    assert began <= budget.now <= time.monotonic()


def test_a_call_cancelled_past_its_deadline_has_later_ones_end_sooner():
    """Lateness counts although the call was not answered; a cancellation in time does not count."""
    times = StepTimes()
    with (
        pytest.raises(asyncio.CancelledError),
        times.observe_cancellation(times.budget(time.monotonic() + 60.0, 1, 1)),
    ):
        raise asyncio.CancelledError
    assert times.after_reading.seconds == 0.005

    with (
        pytest.raises(asyncio.CancelledError),
        times.observe_cancellation(times.budget(time.monotonic() - 2.0, 1, 1)),
    ):
        raise asyncio.CancelledError
    assert times.after_reading.seconds >= 2.0
