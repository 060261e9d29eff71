"""Reciprocal rank fusion, against its formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.related_items.rank_fusion import fused_order

LIST = st.lists(st.sampled_from("abcdefgh"), unique=True)


def test_an_item_of_two_lists_passes_the_first_of_one():
    """Scores are summed over the lists, by weight and rank."""
    order = fused_order([["a", "b"], ["b", "c"]], [1.0, 0.5])
    assert [item for item, _ in order] == ["b", "a", "c"]
    assert dict(order) == pytest.approx({"b": 1 / 62 + 0.5 / 61, "a": 1 / 61, "c": 0.5 / 62})


@given(st.lists(LIST, min_size=1, max_size=3))
def test_the_order_is_that_of_the_formula(lists: list[list[str]]):
    """Every item of a list is there once, by falling score, ties by id."""
    weights = [1.0 / (place + 1) for place in range(len(lists))]
    order = fused_order(lists, weights)
    expected = {
        item: sum(w / (61 + items.index(item)) for items, w in zip(lists, weights, strict=True) if item in items)
        for item in {item for items in lists for item in items}
    }
    assert dict(order) == pytest.approx(expected)
    assert order == sorted(order, key=lambda each: (-each[1], each[0]))
