"""Neighbours of history items are searched once and looked through again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from common.filters import NoneOf, Range
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.search import item_search

OpenShop = Callable[..., FirstStage]


def similar(stage: FirstStage, *history: str, **request: object) -> Candidates:
    """Return what is similar to a history."""
    return stage.retrieve([Request(history_item_ids=history, sources=["similar"], **request)])[0]  # type: ignore[arg-type]


def test_neighbours_are_searched_once(shop: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """Around an item, and around others of its text, the index is searched once."""
    first = similar(shop, "milk-1")
    monkeypatch.setattr(shop._parts.index, "search", None)
    again = similar(shop, "milk-1")
    assert again.item_ids == first.item_ids
    assert again.paths == {"similar": "cached"}
    assert similar(shop, "milk-2").paths == {"similar": "cached"}


def test_remembered_neighbours_keep_to_what_is_allowed(shop: FirstStage):
    """Where little is excluded the remembered neighbours are looked through, and none of the excluded is found."""
    similar(shop, "milk-1")
    one = similar(shop, "milk-1", exclude_item_ids=["bread"])
    assert one.paths == {"similar": "exact"}  # one of eight items is too large a share
    assert "bread" not in one.item_ids


@pytest.mark.parametrize("excluded", [["milk-1"], ["milk-1", "milk-2", "item-7"]])
def test_few_exclusions_among_many(live_shop: FirstStage, excluded: list[str]):
    """Excluding few of many items still uses what is remembered, and the others stay in their order."""
    live_shop.upsert([Item(f"item-{number}", f"thing number {number}") for number in range(30)])
    everything = similar(live_shop, "cheese").item_ids
    answer = similar(live_shop, "cheese", exclude_item_ids=excluded)
    assert answer.paths == {"similar": "cached"}
    assert answer.item_ids == [item_id for item_id in everything if item_id not in excluded]


def test_remembered_neighbours_that_are_too_few_are_searched_again(
    open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch
):
    """Where the remembered neighbours are not allowed, a search finds those that are."""
    monkeypatch.setattr(item_search, "_MOST", 0.5)
    shop = open_shop(options=FirstStageOptions(depth=1))
    answer = similar(shop, "sponge", limit=1, filter=NoneOf((Range("price", 3, 3),)))
    assert answer.paths == {"similar": "exact"}
    assert answer.source_scores[0, 0] > 0


def test_a_history_of_added_items_is_searched_around(live_shop: FirstStage):
    """Added items have no remembered neighbours, and find what the release and others added."""
    live_shop.upsert([Item("oats", "rye oats", category="bakery"), Item("bran", "rye bran", category="bakery")])
    answer = similar(live_shop, "oats", "cheese")
    assert answer.paths == {"similar": "exact"}
    assert {"oats", "bran", "bread"} <= set(answer.item_ids[:5])


def test_nothing_of_the_release_is_left(live_shop: FirstStage):
    """Where every item of the release is gone, those added are found without the index."""
    live_shop.upsert([Item("oats", "rolled oats")])
    live_shop.delete(live_shop.view.base.item_ids)
    answer = similar(live_shop, "bread", "oats")
    assert (answer.item_ids, answer.paths) == (["oats"], {})


def test_a_new_price_leaves_the_graphs_alone(live_shop: FirstStage):
    """An item whose text stays is found as before, with what is new of it, and takes no place among added ones."""
    before = similar(live_shop, "milk-1")
    price = {"milk-1": 9.0, "milk-3": 8.0, "bread": 7.0}
    old = live_shop.read(list(price))
    live_shop.upsert([dataclasses.replace(item, price=price[item.item_id]) for item in old if item is not None])
    assert not live_shop.view.added.own.any()
    after = similar(live_shop, "milk-1")
    assert (after.item_ids, after.paths) == (before.item_ids, {"similar": "cached"})
    np.testing.assert_array_equal(after.source_scores, before.source_scores)
    assert {item.price for item in after.view.read(after.rows) if item.item_id in price} == {7.0, 8.0, 9.0}
    assert similar(live_shop, "milk-1", filter=Range("price", 6.5, 8.5)).item_ids == ["milk-3", "bread"]
    assert similar(live_shop, "milk-1", filter=Range("price", 0.9, 1.1)).item_ids == []
    assert "milk-3" not in similar(live_shop, "milk-1", exclude_item_ids=["milk-3"]).item_ids
    live_shop.delete(["milk-3"])
    assert similar(live_shop, "milk-1").item_ids == [item_id for item_id in before.item_ids if item_id != "milk-3"]


def test_an_item_that_comes_back_after_a_new_graph_is_found(live_shop: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """A deleted item's vector leaves with the old graph; the item that comes back with it is found again."""
    monkeypatch.setattr(item_search, "_FEW_GONE", 0)
    monkeypatch.setattr(item_search, "_GONE_SHARE", 0.0)
    soap = live_shop.read(["soap"])[0]
    assert soap is not None
    vectors = len(live_shop._nearest.index)
    live_shop.delete(["soap"])
    live_shop.tend()
    assert len(live_shop._nearest.index) == vectors - 1
    live_shop.upsert([soap])
    assert live_shop.view.added.own.all()
    found = live_shop.retrieve([Request(query="hand soap", sources=["semantic"], limit=1)])[0]
    assert found.item_ids == ["soap"]
    assert not np.isnan(found.source_scores).any()
