"""A catalogue that changes, and views that do not."""

from __future__ import annotations

import numpy as np
import pytest

from common import gc_freeze
from common.arrays import BoolMask
from common.release.catalogue import Catalogue
from services.retrieval.catalogue import live_catalogue
from services.retrieval.catalogue.delta import Delta
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
    """An added item has a row, an id and what was given of it; the view from before does not know it."""
    before, oats = live.view, Item("oats", "rolled oats", "acme", price=3.5, available=False)
    assert upsert(live, oats) == ChangeCounts(inserted=1)
    view = live.view
    assert (view.items, view.row_of("oats"), view.item_ids(np.array([BASE, 0]))) == (BASE + 1, BASE, ["oats", "milk-1"])
    assert vars(view.read(np.array([BASE]))[0]) == vars(oats)
    assert (before.items, before.row_of("oats")) == (BASE, None)


def test_a_replaced_item_moves_and_keeps_its_origin(live: LiveCatalogue):
    """A replaced item of the release has a new row that leads back to its old one; it is replaced whole."""
    assert upsert(live, Item("cheese", "soft cheese")) == ChangeCounts(replaced=1)
    view = live.view
    row = view.row_of("cheese")
    assert (row, view.items, view.alive[3]) == (BASE, BASE, False)
    assert view.origin_of(np.array([BASE, 1])).tolist() == [3, 1]
    assert view.current_row.tolist() == [0, 1, 2, BASE, 4, 5, 6, 7]
    assert vars(view.read(np.array([BASE]))[0]) == vars(Item("cheese", "soft cheese"))


def test_a_deleted_item_is_gone_and_can_come_back(live: LiveCatalogue):
    """A deleted item has no row; added again it is a new item with its old origin."""
    assert live.apply([], vectors(0), ["bread", "nothing"]) == ChangeCounts(deleted=1, missing=1)
    assert (live.view.row_of("bread"), live.view.items, live.view.current_row[4]) == (None, BASE - 1, -1)
    assert upsert(live, Item("bread", "white bread")) == ChangeCounts(inserted=1)
    assert live.view.origin_of(np.array([live.view.row_of("bread")])).tolist() == [4]


def test_an_added_item_can_be_replaced_and_deleted(live: LiveCatalogue):
    """The last word on an added item counts."""
    upsert(live, Item("oats", "rolled oats"))
    assert upsert(live, Item("oats", "oat flakes")) == ChangeCounts(replaced=1)
    assert live.view.read(live.view.rows_of(["oats"]))[0].title == "oat flakes"
    assert live.apply([], vectors(0), ["oats"]) == ChangeCounts(deleted=1)
    assert (live.view.row_of("oats"), live.view.items) == (None, BASE)
    assert live.view.origin_of(np.array([BASE])).tolist() == [-1]


def test_a_history_remembers_what_was_deleted(live: LiveCatalogue):
    """Deleted items of the release still lead to their old row, deleted added ones are unknown."""
    upsert(live, Item("oats", "rolled oats"), Item("cheese", "soft cheese"), Item("nuts", "nuts"))
    live.apply([], vectors(0), ["bread", "nuts"])
    asked = ["oats", "cheese", "bread", "nuts", "nothing"]
    assert live.view.history_rows(asked).tolist() == [BASE, BASE + 1, 4, -1, -1]
    assert live.view.rows_of(asked).tolist() == [BASE, BASE + 1, -1, -1, -1]


def test_items_are_read_in_the_order_asked_for(live: LiveCatalogue):
    """Reading mixes the release's and added items in any order."""
    upsert(live, Item("oats", "rolled oats"), Item("nuts", "nuts"))
    titles = [item.title for item in live.view.read(live.view.rows_of(["nuts", "soap", "oats", "milk-1"]))]
    assert titles == ["nuts", "hand soap", "rolled oats", "fresh milk"]


def test_superseded_rows_are_left_out(live: LiveCatalogue, monkeypatch: pytest.MonkeyPatch):
    """Items changed again and again do not grow the catalogue without end, once it is tended."""
    monkeypatch.setattr(live_catalogue, "_FEW_ROWS", 5)
    upsert(live, Item("oats", "rolled oats"), Item("cheese", "soft cheese"))
    for price in range(100):
        upsert(live, Item("nuts", "nuts", price=float(price)))
        live.tend()
        assert live.view.rows <= BASE + 3 + 6
    live.apply([], vectors(0), ["oats"])
    assert live.view.read(live.view.rows_of(["nuts"]))[0].price == 99.0
    assert live.view.item_ids(np.flatnonzero(live.view.alive)[-2:]) == ["cheese", "nuts"]
    assert live.view.origin_of(live.view.rows_of(["cheese"])).tolist() == [3]


def test_leaving_out_waits_for_nobody(live: LiveCatalogue, monkeypatch: pytest.MonkeyPatch):
    """What changes while superseded rows are being left out is there afterwards, and earlier views stay as they are."""
    monkeypatch.setattr(live_catalogue, "_FEW_ROWS", 1)
    upsert(live, *(Item(f"item-{number}", "thing", price=1.0) for number in range(4)))
    upsert(live, *(Item(f"item-{number}", "thing", price=2.0) for number in range(4)))
    upsert(live, Item("item-0", "thing", price=3.0))
    before, kept = live.view, Delta.kept

    def kept_meanwhile(added: Delta, there: BoolMask) -> Delta:
        result = kept(added, there)
        live.apply([Item("item-1", "thing", price=4.0), Item("late", "thing")], vectors(2), ["item-2"])
        return result

    monkeypatch.setattr(Delta, "kept", kept_meanwhile)
    assert live.tend()
    view = live.view
    rows = view.rows_of(["item-0", "item-1", "item-2", "item-3", "late"])
    assert (rows < 0).tolist() == [False, False, True, False, False]
    assert [item.price for item in view.read(rows[rows >= 0])] == [3.0, 4.0, 2.0, None]
    assert len(view.added) == 6
    assert view.items == BASE + 4
    assert [item.price for item in before.read(before.rows_of(["item-1", "item-2"]))] == [2.0, 2.0]


def test_many_changes_keep_few_chunks(live: LiveCatalogue):
    """Columns of added items are joined now and then, so that filters stay quick."""
    for number in range(150):
        upsert(live, Item(f"item-{number}", "thing"))
    assert live.view.added.table["brand"].num_chunks < 64
    assert live.view.items == BASE + 150


def test_a_replaced_item_keeps_the_vector_that_the_release_has(catalogue: Catalogue):
    """An item replaced with the same vector stands in for the release's; one with another vector does not."""
    live = LiveCatalogue(catalogue, 2, lambda rows: vectors(len(rows)))
    upsert(live, Item("cheese", "hard cheese", price=9.0), Item("oats", "rolled oats"))
    live.apply([Item("bread", "white bread")], -vectors(1), ["soap"])
    view = live.view
    assert view.added.own.tolist() == [False, True, True]
    assert view.stand_in.tolist() == [0, 1, 2, BASE, -1, 5, -1, 7]
    assert view.released(np.array([0, BASE, BASE + 1, BASE + 2])).tolist() == [0, 3, -1, -1]


def test_many_added_items_are_kept_out_of_garbage_collection(live: LiveCatalogue, monkeypatch: pytest.MonkeyPatch):
    """Soon after they came: settling many at a time would hold up searches for long."""
    called: list[int] = []
    anew: list[int] = []
    monkeypatch.setattr(live_catalogue, "_SETTLED_ANEW", 4)
    monkeypatch.setattr(gc_freeze, "freeze_new_objects", lambda: called.append(len(live.view.added)))
    monkeypatch.setattr(gc_freeze, "refreeze_heap", lambda: anew.append(len(live.view.added)))
    for start in range(0, 9_000, 1_000):
        items = [Item(f"many-{number}", "many") for number in range(start, start + 1_000)]
        live.apply(items, np.random.default_rng(start).standard_normal((1_000, 2)).astype(np.float32), [])
        assert live.tend()
    assert called == [1_000, 2_000, 3_000, 5_000, 6_000, 7_000, 9_000]
    assert anew == [4_000, 8_000]
