"""A catalogue that changes, and snapshots that do not."""

from __future__ import annotations

import numpy as np
import pytest

from common.release.catalogue import Catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts, LiveCatalogue

BASE = 8


def vectors(count: int) -> np.ndarray:
    """Return embeddings of two numbers."""
    return np.tile(np.array([1, 0], dtype=np.float32), (count, 1))


@pytest.fixture
def live(catalogue: Catalogue) -> LiveCatalogue:
    """Return the shop's catalogue."""
    return LiveCatalogue(catalogue, 2)


def upsert(live: LiveCatalogue, *items: Item) -> ChangeCounts:
    """Upsert items."""
    return live.apply(items, vectors(len(items)), [])


def test_a_new_item_is_seen_whole(live: LiveCatalogue):
    """An added item has a row, an id and its attributes; an earlier snapshot does not have it."""
    before, oats = live.snapshot, Item("oats", "rolled oats", "acme", price=3.5, available=False)
    assert upsert(live, oats) == ChangeCounts(inserted=1)
    snapshot = live.snapshot
    assert (snapshot.item_count, snapshot.row_of("oats"), snapshot.item_ids(np.array([BASE, 0]))) == (
        BASE + 1,
        BASE,
        ["oats", "milk-1"],
    )
    assert vars(snapshot.items_at(np.array([BASE]))[0]) == vars(oats)
    assert (before.item_count, before.row_of("oats")) == (BASE, None)


def test_a_replaced_item_moves_and_keeps_its_origin(live: LiveCatalogue):
    """A replaced item of the release has a new row whose origin is the old one; it is replaced whole."""
    assert upsert(live, Item("cheese", "soft cheese")) == ChangeCounts(replaced=1)
    snapshot = live.snapshot
    row = snapshot.row_of("cheese")
    assert (row, snapshot.item_count, snapshot.is_live[3]) == (BASE, BASE, False)
    assert snapshot.origin_of(np.array([BASE, 1])).tolist() == [3, 1]
    assert snapshot.current_row.tolist() == [0, 1, 2, BASE, 4, 5, 6, 7]
    assert vars(snapshot.items_at(np.array([BASE]))[0]) == vars(Item("cheese", "soft cheese"))


def test_a_deleted_item_is_gone_and_can_come_back(live: LiveCatalogue):
    """A deleted item has no row; added again it is a new item with its old origin."""
    assert live.apply([], vectors(0), ["bread", "nothing"]) == ChangeCounts(deleted=1, missing=1)
    assert (live.snapshot.row_of("bread"), live.snapshot.item_count, live.snapshot.current_row[4]) == (
        None,
        BASE - 1,
        -1,
    )
    assert upsert(live, Item("bread", "white bread")) == ChangeCounts(inserted=1)
    assert live.snapshot.origin_of(np.array([live.snapshot.row_of("bread")])).tolist() == [4]


def test_an_added_item_can_be_replaced_and_deleted(live: LiveCatalogue):
    """The latest state of an added item is the one that is read."""
    upsert(live, Item("oats", "rolled oats"))
    assert upsert(live, Item("oats", "oat flakes")) == ChangeCounts(replaced=1)
    assert live.snapshot.items_at(live.snapshot.rows_of(["oats"]))[0].title == "oat flakes"
    assert live.apply([], vectors(0), ["oats"]) == ChangeCounts(deleted=1)
    assert (live.snapshot.row_of("oats"), live.snapshot.item_count) == (None, BASE)
    assert live.snapshot.origin_of(np.array([BASE])).tolist() == [-1]


def test_a_history_may_hold_deleted_items(live: LiveCatalogue):
    """Deleted items of the release have their old row in a history; deleted added items are unknown."""
    upsert(live, Item("oats", "rolled oats"), Item("cheese", "soft cheese"), Item("nuts", "nuts"))
    live.apply([], vectors(0), ["bread", "nuts"])
    asked = ["oats", "cheese", "bread", "nuts", "nothing"]
    assert live.snapshot.history_rows(asked).tolist() == [BASE, BASE + 1, 4, -1, -1]
    assert live.snapshot.rows_of(asked).tolist() == [BASE, BASE + 1, -1, -1, -1]


def test_items_are_returned_in_the_order_of_rows(live: LiveCatalogue):
    """Items of release and delta are returned in the order of their rows."""
    upsert(live, Item("oats", "rolled oats"), Item("nuts", "nuts"))
    titles = [item.title for item in live.snapshot.items_at(live.snapshot.rows_of(["nuts", "soap", "oats", "milk-1"]))]
    assert titles == ["nuts", "hand soap", "rolled oats", "fresh milk"]


def test_many_changes_keep_few_chunks(live: LiveCatalogue):
    """Columns of added items are combined now and then, so that filters stay fast."""
    for number in range(150):
        upsert(live, Item(f"item-{number}", "thing"))
    assert live.snapshot.delta.table["brand"].num_chunks < 64
    assert live.snapshot.item_count == BASE + 150


def test_a_replaced_item_keeps_the_vector_that_the_release_has(catalogue: Catalogue):
    """An item replaced without a new vector is found by the release's; one with another vector is not."""
    live = LiveCatalogue(catalogue, 2, lambda rows: vectors(len(rows)))
    upsert(live, Item("cheese", "hard cheese", price=9.0), Item("oats", "rolled oats"))
    live.apply([Item("bread", "white bread")], -vectors(1), ["soap"])
    snapshot = live.snapshot
    assert snapshot.delta.has_own_vector.tolist() == [False, True, True]
    assert snapshot.replacement_row.tolist() == [0, 1, 2, BASE, -1, 5, -1, 7]
    assert snapshot.vector_origin_of(np.array([0, BASE, BASE + 1, BASE + 2])).tolist() == [0, 3, -1, -1]
