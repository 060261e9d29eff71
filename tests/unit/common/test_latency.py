"""Estimates of how long work takes by its rows."""

from __future__ import annotations

import pytest

from common.latency import LatencyEstimate


def test_more_rows_take_longer():
    """Time grows with the rows, from that of a few rows on."""
    estimate = LatencyEstimate()
    assert estimate.expected_s(1_000) == 0
    estimate.observe(100, 0.001)
    assert estimate.expected_s(1_000) == pytest.approx(0.01)
    assert estimate.expected_s(1) == pytest.approx(0.0005)


def test_the_estimate_follows():
    """If recent work took longer, more time is expected."""
    estimate = LatencyEstimate()
    for seconds in [0.001] * 20 + [0.002] * 60:
        estimate.observe(100, seconds)
    assert estimate.expected_s(100) == pytest.approx(0.002, rel=0.05)
