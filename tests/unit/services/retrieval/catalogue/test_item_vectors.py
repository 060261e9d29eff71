"""Vectors and the items that share them."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems, best_of

# Items 0, 2, 5 share vector 0; 1 and 4 share vector 1; 3 has vector 2 alone.
ITEMS = ItemVectors(np.array([0, 1, 0, 2, 1, 0]), vectors=4, popularity=np.array([1, 0, 5, 2, 9, 3], dtype=np.float32))
LABELS, SCORES = np.array([[1, 0, 2], [3, 2, 0]]), np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]], dtype=np.float32)


def pairs(found: ScoredItems) -> list[tuple[int, float]]:
    """Return what was found as pairs."""
    return [(row, round(score, 3)) for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 9])
def test_items_of_the_best_vectors_come_first(k: int):
    """Vectors fan out to their items in the order of the vectors, the more popular item first."""
    everything = [(4, 0.9), (1, 0.9), (2, 0.8), (5, 0.8), (0, 0.8), (3, 0.7)]
    first, second = ITEMS.fan_out(LABELS, SCORES, k, None)
    assert pairs(first) == everything[:k]
    assert pairs(second) == [(3, 0.5), (2, 0.4), (5, 0.4), (0, 0.4)][:k]


def test_items_that_are_not_allowed_are_left_out():
    """Only allowed items fan out, and as many of them as asked for."""
    allowed = np.array([True, False, False, True, True, True])
    first, second = ITEMS.fan_out(LABELS, SCORES, 3, allowed)
    assert pairs(first) == [(4, 0.9), (5, 0.8), (0, 0.8)]
    assert pairs(second) == [(3, 0.5), (5, 0.4), (0, 0.4)]


def test_one_item_of_each_vector_may_be_enough():
    """The most popular allowed one, for each row of vectors by itself, also if one row ends as the next begins."""
    first, second = ITEMS.fan_out(LABELS, SCORES, 5, None, one_per_vector=True)
    assert (pairs(first), pairs(second)) == ([(4, 0.9), (2, 0.8), (3, 0.7)], [(3, 0.5), (2, 0.4)])
    allowed = np.array([True, True, False, False, False, True])
    labels, scores = np.array([[0, 1], [1, 0]]), np.array([[0.9, 0.8], [0.7, 0.6]], dtype=np.float32)
    first, second = ITEMS.fan_out(labels, scores, 5, allowed, one_per_vector=True)
    assert (pairs(first), pairs(second)) == ([(5, 0.9), (1, 0.8)], [(1, 0.7), (5, 0.6)])
    assert [pairs(found) for found in ITEMS.fan_out(labels, scores, 1, allowed, one_per_vector=True)] == [
        [(5, 0.9)],
        [(1, 0.7)],
    ]


def test_one_item_of_each_vector_where_all_have_items():
    """It is the most popular, as its current row if rows moved, and as many as were asked for."""
    vectors = ItemVectors(np.array([0, 1, 0, 2, 1, 0]), 3, np.array([1, 0, 5, 2, 9, 3], dtype=np.float32))
    labels = np.array([[1, 0, 2], [2, 1, 0]])
    moved = np.array([10, 11, 12, 13, 14, 15])
    first, second = vectors.fan_out(labels, SCORES, 2, None, moved, one_per_vector=True)
    assert (pairs(first), pairs(second)) == ([(14, 0.9), (12, 0.8)], [(13, 0.6), (14, 0.5)])
    everything = np.ones(6, dtype=np.bool_)
    for all_items in (None, everything):
        found = vectors.fan_out(labels, SCORES, 3, all_items, one_per_vector=True)
        assert [pairs(each) for each in found] == [[(4, 0.9), (2, 0.8), (3, 0.7)], [(3, 0.6), (4, 0.5), (2, 0.4)]]


def test_which_vectors_have_allowed_items():
    """A vector counts while one of its items is allowed; one without items never does."""
    allowed = np.array([False, False, False, True, True, False])
    assert ITEMS.have_items(np.array([0, 1, 2, 3]), allowed).tolist() == [False, True, True, False]


def test_the_best_of_several_searches():
    """Each item is kept once, with its highest score, best first."""
    first = ScoredItems(np.array([7, 3]), np.array([0.9, 0.5], np.float32))
    second = ScoredItems(np.array([3, 8, 7]), np.array([0.8, 0.7, 0.1], np.float32))
    assert pairs(best_of([first, NOTHING, second], 5)) == [(7, 0.9), (3, 0.8), (8, 0.7)]
    assert pairs(best_of([first, second], 2)) == [(7, 0.9), (3, 0.8)]
    assert pairs(best_of([NOTHING], 2)) == []
