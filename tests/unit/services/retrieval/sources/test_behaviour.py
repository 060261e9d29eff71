"""The source `behaviour`: items that users chose after items of the history."""

from __future__ import annotations

from collections.abc import Callable

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item

ScoresOf = Callable[..., dict[str, float]]

HISTORY = ["milk-1", "milk-1", "bread"]


def test_graph_neighbours_of_the_history_add_up(shop: FirstStage, scores_of: ScoresOf):
    """The edge weights of every history item add up, weighted by recency; a history item may be a neighbour itself."""
    scores = scores_of(shop, "behaviour", history_item_ids=HISTORY)
    assert scores == {"cheese": 4.0, "milk-1": 3 * 0.75 + 1, "bread": 2 * 0.75}


def test_added_items_have_no_neighbours(live_shop: FirstStage, scores_of: ScoresOf):
    """A history of added items alone retrieves nothing."""
    live_shop.writer.upsert([Item("oats", "rolled oats", category="bakery")])
    assert scores_of(live_shop, "behaviour", history_item_ids=["oats"]) == {}


def test_replaced_items_keep_their_edges(live_shop: FirstStage, scores_of: ScoresOf):
    """A replaced item has the neighbours it had, and is the neighbour it was."""
    before = scores_of(live_shop, "behaviour", history_item_ids=HISTORY)
    live_shop.writer.upsert([Item("milk-1", "fresh milk", "acme", "dairy", price=9.0), Item("cheese", "soft cheese")])
    assert scores_of(live_shop, "behaviour", history_item_ids=HISTORY) == before


def test_deleted_items_keep_their_edges_but_are_not_retrieved(live_shop: FirstStage, scores_of: ScoresOf):
    """A deleted item of the history still has its neighbours, and is not one of them."""
    live_shop.writer.delete(["milk-1"])
    assert scores_of(live_shop, "behaviour", history_item_ids=["milk-1"]) == {"bread": 2.0}
