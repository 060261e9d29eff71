"""What the sources are told of a user."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval.sources.user_context import UserContext

QUERY = np.ones(2, dtype=np.float32)


HISTORY = np.array([4, 7, 4, 9])


@pytest.mark.parametrize(
    ("query", "history", "situation"),
    [(QUERY, HISTORY, "both"), (QUERY, HISTORY[:0], "query"), (None, HISTORY, "history"), (None, HISTORY[:0], "none")],
)
def test_situations(query: np.ndarray | None, history: np.ndarray, situation: str):
    """The situation names what is known."""
    assert UserContext(query, history, 0.5).situation == situation


def test_weights_fall_with_time():
    """The last step weighs 1, each one before it by the decay less; the steps of one item add up."""
    user = UserContext(None, HISTORY, 0.5)
    assert user.weights.tolist() == [0.125, 0.25, 0.5, 1.0]
    rows, weights = user.interests
    assert dict(zip(rows.tolist(), weights.tolist(), strict=True)) == {4: 0.625, 7: 0.25, 9: 1.0}


def test_recent_items_are_distinct_and_most_recent_first():
    """Each recent item comes once, with what its last step weighs."""
    rows, weights = UserContext(None, HISTORY, 0.5).recent(2)
    assert (rows.tolist(), weights.tolist()) == ([9, 4], [1.0, 0.5])
    assert UserContext(None, HISTORY, 0.5).recent(10)[0].tolist() == [9, 4, 7]
    assert UserContext(None, HISTORY[:0], 0.5).recent(10)[0].tolist() == []
