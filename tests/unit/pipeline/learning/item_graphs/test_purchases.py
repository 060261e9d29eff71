"""Behaviour tables against a plain count."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learning.item_graphs.purchases import (
    DECAY,
    SHRINK,
    STEPS,
    Purchases,
    keep_largest,
    popularity,
    transitions,
)

ITEMS = 6
BASKET = st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=3)
USERS = st.lists(st.lists(BASKET, min_size=1, max_size=9), min_size=1, max_size=4)


def _purchases(users: list[list[set[int]]]) -> Purchases:
    rows = [
        (user, user * 100 + number, item)
        for user, baskets in enumerate(users)
        for number, basket in enumerate(baskets)
        for item in sorted(basket)
    ]
    return Purchases(*np.array(rows, np.int64).T)


def _oracle(users: list[list[set[int]]]) -> np.ndarray:
    table, seen = np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS)
    for baskets in users:
        for place, basket in enumerate(baskets):
            for item in basket:
                seen[item] += 1
                for step, later in enumerate(baskets[place + 1 : place + 1 + STEPS]):
                    for other in later:
                        table[item, other] += DECAY**step
    return table / (seen * sum(DECAY**step for step in range(STEPS)) + SHRINK)[:, None]


@settings(max_examples=60, deadline=None)
@given(USERS)
def test_transitions_equal_a_plain_count(users: list[list[set[int]]]):
    """`repeat` and `follow` together are the decayed counts of what is in the next baskets of the same user."""
    graphs = transitions(_purchases(users), ITEMS)
    one = np.ones(1, np.float32)
    got = np.stack([sum(graph.weighted_sum(np.array([row]), one) for graph in graphs.values()) for row in range(ITEMS)])
    assert got == pytest.approx(_oracle(users), abs=1e-6)


def test_repeat_holds_the_diagonal_alone():
    """Repeat purchases are in `repeat`, other next purchases in `follow`."""
    graphs = transitions(_purchases([[{0}, {0, 1}]]), ITEMS)
    assert graphs["repeat"].indices.tolist() == [0]
    assert graphs["follow"].indices.tolist() == [1]


def test_popularity_counts_users_once():
    """Buyers are distinct users; the repeat rate is the share of purchases that were not a user's first."""
    counts = popularity(_purchases([[{0}, {0}, {0}], [{0}, {1}]]), ITEMS)
    assert counts.buyers[:3].tolist() == [2, 1, 0]
    assert counts.events[:3].tolist() == [4, 1, 0]
    assert counts.repeat_rate[:3].tolist() == [0.5, 0.0, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=5), st.integers(1, 7))
def test_largest_entries_of_each_row_are_kept(rows: list[list[int]], count: int):
    """Each row keeps its largest entries, equal ones by the lowest column, as a plain sort would."""
    table = sp.csr_matrix(np.array(rows, np.float32))
    kept = keep_largest(table, count).toarray()
    for row, values in enumerate(rows):
        best = sorted((column for column in range(7) if values[column]), key=lambda column: (-values[column], column))
        expected = [value if column in best[:count] else 0 for column, value in enumerate(values)]
        assert kept[row].tolist() == expected
