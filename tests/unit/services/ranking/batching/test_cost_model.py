"""The cost model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.ranking.batching.cost_model import CostModel, Measurement

GRID = [(1, 16), (8, 16), (32, 16), (1, 64), (8, 64), (4, 128), (1, 256)]


def _measured(batch_ms: float, token_ms: float, square_ms: float) -> Any:
    return [
        Measurement(rows, tokens, batch_ms + rows * (token_ms * tokens + square_ms * tokens**2))
        for rows, tokens in GRID
    ]


def test_the_fit_finds_the_terms():
    """From exact measurements the fit recovers the terms that they were computed from."""
    cost = CostModel.fit(_measured(2.0, 0.05, 0.0001))
    assert (cost.batch_ms, cost.token_ms, cost.square_ms) == pytest.approx((2.0, 0.05, 0.0001))
    assert cost.rows_ms(np.array([10.0, 20.0])) == pytest.approx([0.51, 1.04])


def test_no_term_is_negative():
    """A term that the measurements would make negative is 0."""
    cost = CostModel.fit(_measured(1.0, 0.05, -0.00005))
    assert cost.square_ms == 0
    assert cost.batch_ms >= 0
    assert cost.token_ms == pytest.approx(0.05, rel=0.3)


def test_the_correction_follows_what_is_observed():
    """Work that keeps taking twice as long as expected is expected to, and back again."""
    cost = CostModel(1.0, 0.1)
    assert cost.correction == 1
    for _ in range(200):
        cost.observe(10.0, 20.0)
    assert cost.correction == pytest.approx(2.0, rel=0.01)
    for _ in range(200):
        cost.observe(10.0, 10.0)
    assert cost.correction == pytest.approx(1.0, rel=0.01)


def test_one_slow_batch_moves_little():
    """One slow batch does not make the queue refuse work."""
    cost = CostModel(1.0, 0.1)
    for _ in range(50):
        cost.observe(10.0, 10.0)
    cost.observe(10.0, 100.0)
    assert cost.correction < 1.6


def test_empty_rows_cost_nothing():
    """No rows, no milliseconds."""
    assert CostModel(1.0, 0.1).rows_ms(np.zeros(0)).sum() == 0
