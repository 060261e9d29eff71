"""The source `semantic`: items nearest to the query's embedding, or to the history's mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item

ScoresOf = Callable[..., dict[str, float]]


def test_items_near_the_query_come_first(shop: FirstStage, scores_of: ScoresOf):
    """Items with text near the query come first; items with the same text have the same score."""
    scores = scores_of(shop, "semantic", query="fresh milk")
    assert list(scores)[:3] == ["milk-1", "milk-2", "milk-3"]
    assert scores["milk-1"] == scores["milk-2"] > 0.5
    assert len(scores) == 8


def test_a_vector_of_any_length_replaces_the_query(shop: FirstStage, scores_of: ScoresOf):
    """A given vector is scaled to unit length and searched in place of the query."""
    vector = 1e-3 * shop.query_encoder.encode(["hand soap orchard household"])[0]
    scores = scores_of(shop, "semantic", query="fresh milk", vector=vector.astype(np.float32))
    assert next(iter(scores)) == "soap"
    assert scores["soap"] == pytest.approx(1, abs=1e-3)


def test_without_a_query_the_history_is_searched_around(shop: FirstStage, scores_of: ScoresOf):
    """Without a query, the recency-weighted mean of the history's vectors is the query."""
    assert next(iter(scores_of(shop, "semantic", history_item_ids=["soap", "roll"]))) == "roll"
    assert next(iter(scores_of(shop, "semantic", history_item_ids=["roll", "soap"]))) == "soap"
    roll, soap = shop.query_encoder.encode([item.text for item in shop.get_items(["roll", "soap"]) if item is not None])
    mean = 0.5 * roll + soap
    scores = scores_of(shop, "semantic", history_item_ids=["roll", "soap"])
    assert scores["soap"] == pytest.approx(mean @ soap / np.linalg.norm(mean), abs=1e-3)


def test_without_query_and_history_nothing_is_retrieved(shop: FirstStage, scores_of: ScoresOf):
    """A user of whom nothing is known gets no items."""
    assert scores_of(shop, "semantic") == {}


def test_added_and_replaced_items_are_retrieved_by_their_text(live_shop: FirstStage, scores_of: ScoresOf):
    """An added item, and a replaced one, are nearest to a query with their text."""
    live_shop.writer.upsert([Item("oats", "rolled oats", category="bakery"), Item("roll", "sweet roll")])
    assert next(iter(scores_of(live_shop, "semantic", query="rolled oats"))) == "oats"
    assert next(iter(scores_of(live_shop, "semantic", query="sweet roll"))) == "roll"
