"""The source `similar`: nearest neighbours of items of the history."""

from __future__ import annotations

from collections.abc import Callable

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item

ScoresOf = Callable[..., dict[str, float]]
OpenShop = Callable[..., FirstStage]


def test_each_recent_item_is_searched_around(shop: FirstStage, scores_of: ScoresOf):
    """The neighbours of each recent item are weighted by its recency; items with its own text are among them."""
    scores = scores_of(shop, "similar", history_item_ids=["soap", "milk-2"])
    assert (scores["milk-2"], scores["milk-1"], scores["soap"]) == (1.0, 1.0, 0.5)
    assert scores["sponge"] < 0.5


def test_only_the_most_recent_items_are_searched_around(open_shop: OpenShop, scores_of: ScoresOf):
    """The release sets how many of the most recent distinct items are searched around."""
    shop = open_shop(sources={"similar": {"recent": 1}})
    scores = scores_of(shop, "similar", history_item_ids=["soap", "milk-2", "milk-2"])
    assert scores["milk-2"] == 1.0
    assert scores["soap"] < 0.5


def test_added_items_are_searched_around(live_shop: FirstStage, scores_of: ScoresOf):
    """A history with an added item retrieves that item first."""
    live_shop.writer.upsert([Item("oats", "rolled oats", category="bakery")])
    assert next(iter(scores_of(live_shop, "similar", history_item_ids=["oats"]))) == "oats"


def test_deleted_items_are_searched_around_but_not_retrieved(live_shop: FirstStage, scores_of: ScoresOf):
    """A deleted item of the history still has neighbours, and is not one of them."""
    live_shop.writer.delete(["milk-1"])
    scores = scores_of(live_shop, "similar", history_item_ids=["milk-1"])
    assert list(scores)[:2] == ["milk-2", "milk-3"]
    assert "milk-1" not in scores
