"""Searches agree with sorting everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.scored_items import ScoredItems, best_of
from services.retrieval.index.scoring import top_k

scores_ = st.integers(0, 5).map(float)


@given(scores=st.lists(scores_, max_size=30), k=st.integers(1, 35))
@settings(deadline=None)
def test_top_k_agrees_with_sorting(scores: list[float], k: int):
    """The scores found are the highest, in order, each column once, equal ones by column."""
    columns = top_k(np.array([scores], dtype=np.float32).reshape(1, -1), k)[0].tolist()
    assert [scores[column] for column in columns] == sorted(scores, reverse=True)[:k]
    assert columns == sorted(set(columns), key=lambda column: (-scores[column], column))


@given(
    owners=st.lists(st.integers(0, 5), min_size=1, max_size=25),
    labels=st.permutations(range(6)),
    allowed=st.none() | st.lists(st.booleans(), min_size=25, max_size=25),
    k=st.integers(1, 30),
)
@settings(deadline=None)
def test_fan_out_agrees_with_a_loop(owners: list[int], labels: list[int], allowed: list[bool] | None, k: int):
    """Vectors fan out to their allowed items, best vector first, more popular item first, and no further than asked."""
    popularity = np.array([(7 * item) % 11 for item in range(len(owners))], dtype=np.float32)
    scores = np.linspace(1, 0, 6, dtype=np.float32)
    mask = None if allowed is None else np.array(allowed)
    items = ItemVectors(np.array(owners), 6, popularity)
    found = items.fan_out(np.array([labels]), scores[np.newaxis], k, mask)[0]
    wanted = [
        (item, float(score))
        for label, score in zip(labels, scores, strict=True)
        for item in sorted(range(len(owners)), key=lambda item: -popularity[item])
        if owners[item] == label and (allowed is None or allowed[item])
    ]
    assert list(zip(found.rows.tolist(), found.scores.tolist(), strict=True)) == wanted[:k]


@given(st.lists(st.dictionaries(st.integers(0, 9), scores_, max_size=6), min_size=1, max_size=4), st.integers(1, 12))
@settings(deadline=None)
def test_best_of_agrees_with_a_dictionary(searches: list[dict[int, float]], k: int):
    """Joined searches hold each item once with its highest score, the best first."""
    founds = [
        ScoredItems(np.array(list(each), np.int64), np.array(list(each.values()), np.float32)) for each in searches
    ]
    found = best_of(founds, k)
    highest = {row: max(each[row] for each in searches if row in each) for each in searches for row in each}
    assert found.scores.tolist() == sorted(highest.values(), reverse=True)[:k]
    assert [highest[row] for row in found.rows.tolist()] == found.scores.tolist()
    assert len(set(found.rows.tolist())) == len(found.rows)
