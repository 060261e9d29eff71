"""Counting in sequences, against hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from pipeline.learning.item_graphs.sequences import Sequences, statistics

# User 0 takes 0, 1, 2; user 1 takes 1, 1.
SEQUENCES = Sequences.of([np.array([0, 1, 2]), np.array([1, 1])], items=4)


def test_pairs_decay_with_what_lies_between_and_end_with_the_user():
    """Neighbours count 1, pairs with one event between them the decay, pairs of two users nothing."""
    counts = SEQUENCES.pairs(0.5).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1], expected[1, 2], expected[0, 2], expected[1, 1] = 1, 1, 0.5, 1
    assert counts.tolist() == expected.tolist()


def test_without_decay_to_speak_of_only_neighbours_count():
    """A decay of 0 leaves the steps."""
    assert SEQUENCES.pairs(0.0).toarray()[0].tolist() == [0, 1, 0, 0]


def test_taken_is_once_a_user():
    """Whoever takes an item twice took it."""
    assert SEQUENCES.taken().toarray().tolist() == [[1, 1, 1, 0], [0, 1, 0, 0]]


def test_nobody_leaves_everything_empty():
    """No sequences at all count nothing, as where only texts are compared."""
    nobody = Sequences.of([], items=3)
    assert nobody.events().tolist() == [0, 0, 0]
    assert nobody.pairs(0.5).nnz == 0


def test_statistics_say_what_place_an_item_has():
    """Item 1 begins one of two sequences, ends one, follows itself once in three, and has two successors."""
    found = statistics(SEQUENCES, sp.identity(4, format="csr"))
    assert found["first_share"][1] == pytest.approx((1 + 1) / (3 + 3))
    assert found["last_share"][2] == pytest.approx((1 + 1) / (1 + 3))
    assert found["repeat_rate"][1] == pytest.approx(1 / 5)
    assert found["followers"].tolist() == [1, 2, 0, 0]
    assert found["followed"].tolist() == [0, 2, 1, 0]
    assert found["near_popularity"].tolist() == [1, 3, 1, 0]
