"""What a call keeps back for its way in and its answer's way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking.admission.time_budget import less_return_time


@pytest.mark.parametrize(("remaining_s", "kept_back_s"), [(0.02, 0.002), (0.2, 0.01), (1.0, 0.05), (30.0, 0.05)])
def test_a_share_is_kept_back_within_bounds(remaining_s: float, kept_back_s: float):
    """A twentieth, at least two and at most fifty milliseconds."""
    assert remaining_s - less_return_time(remaining_s) == pytest.approx(kept_back_s)


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_who_has_more_time_is_given_more(one: float, other: float):
    """A later deadline never means less time to work."""
    assert less_return_time(min(one, other)) <= less_return_time(max(one, other))
