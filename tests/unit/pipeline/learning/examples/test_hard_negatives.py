"""Mined negatives."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.examples.hard_negatives import mined_negatives
from pipeline.learning.examples.judged_queries import JudgedQuery


@pytest.mark.parametrize(("count", "first", "expected"), [(2, 1, [1, 0]), (2, 0, [3, 1]), (9, 2, [0]), (1, 7, [])])
def test_unjudged_items_by_rank(count: int, first: int, expected: list[int]):
    """Judged items are never mined, the nearest are passed over, and the catalogue may end first."""
    items = np.array([[0.1], [0.5], [0.9], [0.8], [0.7]], np.float32)
    query = JudgedQuery("q", np.array([2, 4]), np.zeros(2, np.float32))
    found = mined_negatives([query], np.ones((1, 1), np.float32), items, count=count, first=first)
    assert found[0].tolist() == expected


def test_everything_judged_leaves_nothing():
    """Where every item is judged there is no negative to mine."""
    query = JudgedQuery("q", np.array([0, 1]), np.zeros(2, np.float32))
    items = np.ones((2, 1), np.float32)
    assert mined_negatives([query], np.ones((1, 1), np.float32), items, count=1, first=0)[0].tolist() == []
