"""Which candidates retrieval says are of the long tail."""

from __future__ import annotations

import numpy as np

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.long_tail import LongTail


def _of_tail(shop: FirstStage, *item_ids: str) -> list[bool]:
    snapshot = shop.snapshot
    found: list[bool] = shop.long_tail.contains(snapshot, snapshot.rows_of(item_ids)).tolist()
    return found


def test_what_sold_less_than_the_median_item_is_of_the_tail(shop: FirstStage):
    """Half of the shelves sold under 5.5: those are the tail, also where they share a text with one that sold."""
    assert _of_tail(shop, "milk-1", "milk-2", "milk-3", "cheese", "bread") == [False, True, False, True, False]
    assert _of_tail(shop, "roll", "soap", "sponge") == [True, True, True]
    assert _of_tail(shop) == []


def test_a_replaced_item_keeps_what_it_sold(live_shop: FirstStage):
    """A new price or text leaves an item where it was; one that came since has sold nothing."""
    live_shop.writer.upsert(
        [Item("bread", "wheat bread"), Item("soap", "hand soap", price=1.0), Item("oats", "rolled oats")]
    )
    assert _of_tail(live_shop, "bread", "soap", "oats") == [False, True, True]


def test_where_nothing_sells_nothing_is_of_the_tail(live_shop: FirstStage):
    """Without sales no item is of the long tail."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    nothing = LongTail(np.zeros(len(live_shop.snapshot.base), np.float32))
    assert not nothing.contains(live_shop.snapshot, live_shop.snapshot.rows_of(["oats", "milk-1"])).any()
