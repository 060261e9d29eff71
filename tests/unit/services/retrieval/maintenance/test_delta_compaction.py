"""Compaction of the delta: superseded rows are dropped while others search and change the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.maintenance import delta_compaction
from services.retrieval.maintenance.delta_compaction import DeltaCompaction, DeltaCompactionOptions
from services.retrieval.search.item_search import ItemSearch

BASE = 8


class Shop(NamedTuple):
    """The shop's catalogue and its search."""

    live: LiveCatalogue
    search: ItemSearch

    def upsert(self, items: Sequence[Item], vectors: Float32Array | None = None) -> None:
        """Upsert items, of one vector if none is given."""
        same = np.tile(np.array([1, 0], dtype=np.float32), (len(items), 1))
        self.live.apply(items, same if vectors is None else vectors, [])

    def delete(self, *item_ids: str) -> None:
        """Delete items."""
        self.live.apply([], np.zeros((0, 2), np.float32), item_ids)


@pytest.fixture
def shop(catalogue: Catalogue) -> Shop:
    """Return the shop's catalogue, whose items share a vector."""
    vectors = np.ones((1, 2), dtype=np.float32)
    items = ItemVectors(np.zeros(BASE, np.int64), 1, np.zeros(BASE, np.float32))
    return Shop(LiveCatalogue(catalogue, 2), ItemSearch(FlatIndex(vectors), vectors, items, cached=0))


def test_superseded_rows_are_dropped(shop: Shop):
    """Items that are changed again and again do not grow the catalogue without end."""
    compaction = DeltaCompaction(shop.live, shop.search, DeltaCompactionOptions(min_superseded=5))
    shop.upsert([Item("oats", "rolled oats"), Item("cheese", "soft cheese")])
    for price in range(100):
        shop.upsert([Item("nuts", "nuts", price=float(price))])
        compaction.run_if_due()
        assert shop.live.snapshot.row_count <= BASE + 3 + 6
    shop.delete("oats")
    snapshot = shop.live.snapshot
    assert snapshot.items_at(snapshot.rows_of(["nuts"]))[0].price == 99.0
    assert snapshot.item_ids(np.flatnonzero(snapshot.is_live)[-2:]) == ["cheese", "nuts"]
    assert snapshot.origin_of(snapshot.rows_of(["cheese"])).tolist() == [3]


def test_few_or_a_minority_of_superseded_rows_are_kept(shop: Shop):
    """A compaction is due once superseded rows are both more than the bound and the majority."""
    compaction = DeltaCompaction(shop.live, shop.search, DeltaCompactionOptions(min_superseded=2))
    shop.upsert([Item(f"item-{number}", "thing") for number in range(4)])
    shop.delete("item-0", "item-1")
    assert not compaction.run_if_due()
    shop.delete("item-2")
    assert compaction.run_if_due()
    assert len(shop.live.snapshot.delta) == 1


def test_changes_during_a_compaction_are_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """What changes while superseded rows are dropped is there afterwards, and earlier snapshots stay as they are."""
    compaction = DeltaCompaction(shop.live, shop.search, DeltaCompactionOptions(min_superseded=1))
    for price in (1.0, 2.0):
        shop.upsert([Item(f"item-{number}", "thing", price=price) for number in range(4)])
    shop.upsert([Item("item-0", "thing", price=3.0)])
    before, compacted = shop.live.snapshot, Delta.compacted

    def compacted_slowly(delta: Delta, is_live: BoolMask) -> Delta:
        result = compacted(delta, is_live)
        shop.upsert([Item("item-1", "thing", price=4.0), Item("late", "thing")])
        shop.delete("item-2")
        return result

    monkeypatch.setattr(Delta, "compacted", compacted_slowly)
    assert compaction.run_if_due()
    snapshot = shop.live.snapshot
    rows = snapshot.rows_of(["item-0", "item-1", "item-2", "item-3", "late"])
    assert (rows < 0).tolist() == [False, False, True, False, False]
    assert [item.price for item in snapshot.items_at(rows[rows >= 0])] == [3.0, 4.0, 2.0, None]
    assert len(snapshot.delta) == 6
    assert snapshot.item_count == BASE + 4
    assert [item.price for item in before.items_at(before.rows_of(["item-1", "item-2"]))] == [2.0, 2.0]


def test_added_items_are_kept_out_of_garbage_collection(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """Items are frozen soon after they were added, since freezing many at a time would hold up searches for long."""
    compaction = DeltaCompaction(shop.live, shop.search, DeltaCompactionOptions(refreeze_every=4))
    frozen: list[int] = []
    refrozen: list[int] = []
    monkeypatch.setattr(delta_compaction, "freeze_new_objects", lambda: frozen.append(len(shop.live.snapshot.delta)))
    monkeypatch.setattr(delta_compaction, "refreeze_heap", lambda: refrozen.append(len(shop.live.snapshot.delta)))
    for start in range(0, 9_000, 1_000):
        items = [Item(f"many-{number}", "many") for number in range(start, start + 1_000)]
        shop.upsert(items, np.random.default_rng(start).standard_normal((1_000, 2)).astype(np.float32))
        assert compaction.run_if_due()
    assert frozen == [1_000, 2_000, 3_000, 5_000, 6_000, 7_000, 9_000]
    assert refrozen == [4_000, 8_000]
