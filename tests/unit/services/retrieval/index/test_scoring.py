"""Exact scoring."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval.index.scoring import nearest, top_k


def test_top_k_orders_and_breaks_ties_by_column():
    """The highest scores come first, equal ones by column."""
    scores = np.array([[1, 3, 3, 2, 3], [5, 4, 3, 2, 1]], dtype=np.float32)
    assert top_k(scores, 4).tolist() == [[1, 2, 4, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("k", [5, 6])
def test_top_k_of_all(k: int):
    """All columns are ordered if ``k`` is their number or more."""
    assert top_k(np.array([[2, 5, 1, 5, 0]], dtype=np.float32), k).tolist() == [[1, 3, 0, 2, 4]]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_nearest_gathers_and_multiplies_alike(share: float):
    """Whatever share of the rows is allowed, rows and scores are those of the full product."""
    generator = np.random.default_rng(1)
    table = generator.standard_normal((12_000, 4)).astype(np.float32)
    queries, mask = table[:3], generator.random(12_000) < share
    rows, scores = nearest(table, queries, 9, mask)
    full = np.where(mask, queries @ table.T, -np.inf)
    assert np.array_equal(rows, np.argsort(-full, axis=1)[:, :9])
    assert scores == pytest.approx(np.take_along_axis(full, rows, axis=1), abs=1e-5)
