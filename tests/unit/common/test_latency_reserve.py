"""How much time is kept back."""

from __future__ import annotations

import pytest

from common.latency import LatenessReserve


def test_the_longest_counts_at_once():
    """One late answer raises the reserve to its lateness, however many were early."""
    reserve = LatenessReserve(0.001)
    for seconds in [0.002] * 10 + [0.03] + [0.002] * 2:
        reserve.observe(seconds)
    assert reserve.seconds == pytest.approx(0.03, rel=0.05)


def test_the_reserve_decays():
    """It halves in 32 observations, and is never below the latest."""
    reserve = LatenessReserve()
    reserve.observe(0.1)
    for _ in range(32):
        reserve.observe(-0.5)
    assert reserve.seconds == pytest.approx(0.05)
    reserve.observe(0.06)
    assert reserve.seconds == 0.06
