"""What the candidate sources know about a user."""

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
def test_the_situation_names_what_is_known(query: np.ndarray | None, history: np.ndarray, situation: str):
    """The situation is query, history, both or none."""
    assert UserContext(query, history, 0.5).situation == situation


def test_weights_fall_with_each_step_back():
    """The last step weighs 1, each step before it less by the decay; the steps of one item add up."""
    user = UserContext(None, HISTORY, 0.5)
    assert user.step_weights.tolist() == [0.125, 0.25, 0.5, 1.0]
    rows, weights = user.weighted_items
    assert dict(zip(rows.tolist(), weights.tolist(), strict=True)) == {4: 0.625, 7: 0.25, 9: 1.0}


def test_recent_items_are_distinct_and_most_recent_first():
    """Each recent item is listed once, with the weight of its last step."""
    rows, weights = UserContext(None, HISTORY, 0.5).recent_items(2)
    assert (rows.tolist(), weights.tolist()) == ([9, 4], [1.0, 0.5])
    assert UserContext(None, HISTORY, 0.5).recent_items(10)[0].tolist() == [9, 4, 7]
    assert UserContext(None, HISTORY[:0], 0.5).recent_items(10)[0].tolist() == []


def test_events_weigh_and_age_by_their_kinds():
    """A step counts what its kind does, and ages those before it by as much; the heaviest step of an item is kept."""
    user = UserContext(None, HISTORY, 0.5, event_weights=np.array([1.0, 0.5, 0.5, 1.0], np.float32))
    assert user.step_weights.tolist() == pytest.approx([0.25, 0.5 * 0.5**1.5, 0.25, 1.0])
    rows, weights = user.recent_items(3)
    assert rows.tolist() == [9, 4, 7]
    assert weights.tolist() == pytest.approx([1.0, 0.25, 0.5 * 0.5**1.5])
    plain, alike = (
        UserContext(None, HISTORY, 0.5),
        UserContext(None, HISTORY, 0.5, event_weights=np.ones(4, np.float32)),
    )
    assert plain.step_weights.tolist() == alike.step_weights.tolist()


def test_recent_items_of_equal_events_are_those_of_unknown_kinds():
    """Reading only the end of the history finds the items and weights that reading all of it finds."""
    history = np.random.default_rng(0).integers(0, 30, 200)
    ones = np.ones(len(history), np.float32)
    for decay in (0.9, 1.0):
        for count in (1, 10, 100):
            plain = UserContext(None, history, decay).recent_items(count)
            alike = UserContext(None, history, decay, event_weights=ones).recent_items(count)
            assert [each.tolist() for each in plain] == [each.tolist() for each in alike]


def test_the_seed_is_the_callers_or_a_hash():
    """A given seed is used; otherwise equal queries and histories have equal seeds, and different ones differ."""

    def seed(text: str = "", history: tuple[str, ...] = (), given: int = 0) -> int:
        return UserContext(None, HISTORY[:0], 0.5, text, given, history).seed

    assert seed("milk", ("a",), given=7) == 7
    assert seed("milk", ("a", "b")) == seed("milk", ("a", "b"))
    assert len({seed("milk", ("a", "b")), seed("milk", ("b", "a")), seed("milk"), seed("", ("milk", "a"))}) == 4
