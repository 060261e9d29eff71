"""Searches around items, and cached neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array
from common.filters import NoneOf, Range
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.vector_index import Hits
from services.retrieval.search.item_search import ItemSearchOptions

OpenShop = Callable[..., FirstStage]


def similar(stage: FirstStage, *history: str, **request: object) -> Candidates:
    """Return what is similar to a history."""
    return stage.retrieve([Request(history_item_ids=history, sources=["similar"], **request)])[0]  # type: ignore[arg-type]


class CountedSearches(FlatIndex):
    """Exact search that counts its searches."""

    searches = 0

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Count the search, and answer it."""
        self.searches += 1
        return super().search(vectors, k, allowed)


def test_neighbours_are_searched_once(artifacts: ReleaseArtifacts):
    """The index is searched once around an item and around others of its text."""
    index = CountedSearches(artifacts.vectors)
    stage = FirstStage(dataclasses.replace(artifacts, index=index))
    first = similar(stage, "milk-1")
    searches = index.searches
    again = similar(stage, "milk-1")
    assert again.item_ids == first.item_ids
    assert again.paths == {"similar": "cached"}
    assert similar(stage, "milk-2").paths == {"similar": "cached"}
    assert index.searches == searches
    stage.close()


def test_cached_neighbours_are_not_used_if_much_is_excluded(shop: FirstStage):
    """If a large share of the items is excluded, the index is searched, and no excluded item is found."""
    similar(shop, "milk-1")
    one = similar(shop, "milk-1", exclude_item_ids=["bread"])
    assert one.paths == {"similar": "exact"}  # one of eight items is too large a share
    assert "bread" not in one.item_ids


@pytest.mark.parametrize("excluded", [["milk-1"], ["milk-1", "milk-2", "item-7"]])
def test_few_exclusions_among_many(live_shop: FirstStage, excluded: list[str]):
    """If few of many items are excluded, cached neighbours are used, and the others stay in their order."""
    live_shop.writer.upsert([Item(f"item-{number}", f"thing number {number}") for number in range(30)])
    everything = similar(live_shop, "cheese").item_ids
    answer = similar(live_shop, "cheese", exclude_item_ids=excluded)
    assert answer.paths == {"similar": "cached"}
    assert answer.item_ids == [item_id for item_id in everything if item_id not in excluded]


def test_too_few_allowed_cached_neighbours_cause_a_search(open_shop: OpenShop):
    """If the cached neighbours are not allowed, a search finds those that are."""
    shop = open_shop(options=FirstStageOptions(depth=1, search=ItemSearchOptions(min_allowed_share=0.5)))
    answer = similar(shop, "sponge", limit=1, filter=NoneOf((Range("price", 3, 3),)))
    assert answer.paths == {"similar": "exact"}
    assert answer.source_scores[0, 0] > 0


def test_a_history_of_added_items_is_searched_around(live_shop: FirstStage):
    """Added items have no cached neighbours; a search finds items of release and delta."""
    live_shop.writer.upsert([Item("oats", "rye oats", category="bakery"), Item("bran", "rye bran", category="bakery")])
    answer = similar(live_shop, "oats", "cheese")
    assert answer.paths == {"similar": "exact"}
    assert {"oats", "bran", "bread"} <= set(answer.item_ids[:5])


def test_a_release_without_items_left_is_not_searched(live_shop: FirstStage):
    """If every item of the release is deleted, added ones are found without the release's index."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    live_shop.writer.delete(live_shop.snapshot.base.item_ids)
    answer = similar(live_shop, "bread", "oats")
    assert (answer.item_ids, answer.paths) == (["oats"], {})


def test_a_new_price_needs_no_new_vector(live_shop: FirstStage):
    """An item whose text stays the same is found as before, with its new attributes, and has no vector of its own."""
    before = similar(live_shop, "milk-1")
    price = {"milk-1": 9.0, "milk-3": 8.0, "bread": 7.0}
    old = live_shop.get_items(list(price))
    live_shop.writer.upsert([dataclasses.replace(item, price=price[item.item_id]) for item in old if item is not None])
    assert not live_shop.snapshot.delta.has_own_vector.any()
    after = similar(live_shop, "milk-1")
    assert (after.item_ids, after.paths) == (before.item_ids, {"similar": "cached"})
    np.testing.assert_array_equal(after.source_scores, before.source_scores)
    assert {item.price for item in after.snapshot.items_at(after.rows) if item.item_id in price} == {7.0, 8.0, 9.0}
    assert similar(live_shop, "milk-1", filter=Range("price", 6.5, 8.5)).item_ids == ["milk-3", "bread"]
    assert similar(live_shop, "milk-1", filter=Range("price", 0.9, 1.1)).item_ids == []
    assert "milk-3" not in similar(live_shop, "milk-1", exclude_item_ids=["milk-3"]).item_ids
    live_shop.writer.delete(["milk-3"])
    assert similar(live_shop, "milk-1").item_ids == [item_id for item_id in before.item_ids if item_id != "milk-3"]
