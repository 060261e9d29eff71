"""Which items a request may be answered with."""

from __future__ import annotations

import gc
from weakref import ref

import numpy as np
import pytest

from common.filters import Match, Range
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.item_filter import ItemFilter

# The three milks share vector 0.
VECTORS = ItemVectors(np.array([0, 0, 0, 1, 2, 3, 4, 5]), 6, np.zeros(8, dtype=np.float32))
DAIRY = Match("category", ("dairy",))


@pytest.fixture
def live(catalogue: Catalogue) -> LiveCatalogue:
    """Return the shop's catalogue."""
    return LiveCatalogue(catalogue, 2)


@pytest.fixture
def item_filter(catalogue: Catalogue) -> ItemFilter:
    """Return a filter over the shop's attributes."""
    return ItemFilter(catalogue.table.select(catalogue.attributes()), VECTORS)


def summary(allowed: AllowedItems) -> tuple[list[int], list[int] | None, int]:
    """Return the allowed rows, the allowed vectors and the count."""
    vectors = None if allowed.release_vectors is None else np.flatnonzero(allowed.release_vectors).tolist()
    return np.flatnonzero(allowed.rows).tolist(), vectors, allowed.count


def test_without_a_filter_all_is_allowed(live: LiveCatalogue, item_filter: ItemFilter):
    """No filter allows every item and restricts no vector."""
    assert summary(item_filter.allowed(live.snapshot, None)) == (list(range(8)), None, 8)


def test_a_filter_allows_items_and_their_vectors(live: LiveCatalogue, item_filter: ItemFilter):
    """A vector is allowed where one of its items is."""
    assert summary(item_filter.allowed(live.snapshot, DAIRY)) == ([0, 1, 2, 3], [0, 1], 4)
    assert summary(item_filter.allowed(live.snapshot, Range("price", 1.1, 1.3))) == ([1], [0], 1)


def test_excluded_items_are_not_allowed(live: LiveCatalogue, item_filter: ItemFilter):
    """A vector is given up once the last of its items is excluded; what was cached stays as it was."""
    allowed = item_filter.allowed(live.snapshot, None)
    assert summary(allowed.without(np.array([0, 3, 3]), VECTORS)) == ([1, 2, 4, 5, 6, 7], [0, 2, 3, 4, 5], 6)
    assert summary(allowed.without(np.array([0, 1, 2]), VECTORS))[1] == [1, 2, 3, 4, 5]
    dairy = item_filter.allowed(live.snapshot, DAIRY)
    assert summary(dairy.without(np.array([3, 7]), VECTORS)) == ([0, 1, 2], [0], 3)
    assert dairy.without(np.array([7]), VECTORS) is dairy
    assert summary(item_filter.allowed(live.snapshot, DAIRY)) == ([0, 1, 2, 3], [0, 1], 4)


def test_changes_are_seen_through_every_filter(live: LiveCatalogue, item_filter: ItemFilter):
    """After a change a known filter passes added items by what was given of them, and no deleted or replaced ones."""
    item_filter.allowed(live.snapshot, DAIRY)
    items = [Item("oats", "oats", category="bakery"), Item("curd", "curd", category="dairy"), Item("cheese", "cheese")]
    live.apply(items, np.zeros((3, 2), dtype=np.float32), ["milk-2"])
    assert summary(item_filter.allowed(live.snapshot, DAIRY)) == ([0, 2, 9], [0], 3)
    assert summary(item_filter.allowed(live.snapshot, Match("organic", ("1",))))[0] == [5, 7]


def test_filters_are_remembered(live: LiveCatalogue, item_filter: ItemFilter):
    """The same filter over the same snapshot is computed once, and old views are not kept alive by it."""
    before = item_filter.allowed(live.snapshot, DAIRY)
    assert item_filter.allowed(live.snapshot, Match("category", ("dairy",))) is before
    live.apply([], np.zeros((0, 2), dtype=np.float32), ["milk-1"])
    assert item_filter.allowed(live.snapshot, DAIRY) is not before
    earlier = ref(live.snapshot)
    for number in range(3):
        live.apply([Item(f"new {number}", "new")], np.zeros((1, 2), dtype=np.float32), [])
        item_filter.allowed(live.snapshot, DAIRY)
    gc.collect()
    assert earlier() is None
