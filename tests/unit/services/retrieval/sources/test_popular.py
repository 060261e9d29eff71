"""The source `popular`: the most popular items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.popular import PopularSource

ScoresOf = Callable[..., dict[str, float]]

POPULARITY = np.array([9, 5, 7, 6, 8, 0, 1, 0], np.float32)


def everything(snapshot: Snapshot) -> AllowedItems:
    """Allow every item of a snapshot."""
    return AllowedItems(snapshot, snapshot.is_live, None, None, vector_count=6, count=snapshot.item_count)


def test_items_come_by_popularity(shop: FirstStage, scores_of: ScoresOf):
    """The most popular come first; items that nobody bought are not retrieved."""
    scores = scores_of(shop, "popular")
    assert list(scores) == ["milk-1", "bread", "milk-3", "cheese", "milk-2", "soap"]


def test_replaced_items_keep_their_popularity(live_shop: FirstStage, scores_of: ScoresOf):
    """Replacing an item does not change its place."""
    before = scores_of(live_shop, "popular")
    live_shop.writer.upsert([Item("milk-1", "fresh milk", "acme", "dairy", price=9.0), Item("cheese", "soft cheese")])
    assert scores_of(live_shop, "popular") == before


def test_deleted_items_are_not_retrieved(live_shop: FirstStage, scores_of: ScoresOf):
    """A deleted item is missing, and the next one takes its place."""
    live_shop.writer.delete(["milk-1"])
    assert list(scores_of(live_shop, "popular")) == ["bread", "milk-3", "cheese", "milk-2", "soap"]


@pytest.mark.parametrize("k", [1, 3, 8, 9, 20])
def test_padding_holds_every_allowed_item_in_order(live_shop: FirstStage, k: int):
    """Padding lists items by popularity, unpopular ones too, and the added ones last."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    snapshot = live_shop.snapshot
    rows = PopularSource(POPULARITY).padding(k, everything(snapshot))
    ordered = ["milk-1", "bread", "milk-3", "cheese", "milk-2", "soap", "roll", "sponge", "oats"]
    assert snapshot.item_ids(rows) == ordered[:k]
