"""Searches as people type them, made of searches made of titles."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.typed_searches import ItemWords, as_typed

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["Butter cookies, 5 oz", "Chocolate cookies, 6 oz", "Green tea", "7 up"],
        "category": ["Snacks > Cookies & biscuits", "Snacks > Cookies & biscuits", "Drinks > Tea bags", None],
    }
)
WORDS = ItemWords.of(ITEMS)


def _typed(bought: set[str], query: str, fitting: set[str], seeds: int = 60) -> set[tuple[str, frozenset[str]]]:
    request = ShopRequest(("c",), "", frozenset(bought))
    search = ShopRequest(("c",), query, frozenset(fitting))
    found = [as_typed([request], [search], WORDS, share=1.0, seed=seed)[0] for seed in range(seeds)]
    assert all(list(one.history) == ["c"] for one in found)
    return {(one.query, one.bought) for one in found}


def test_words_are_left_out_and_more_items_fit():
    """`cookies` fits both kinds of cookies that were bought."""
    typed = _typed({"a", "b", "c"}, "butter cookies", {"a"})
    assert ("cookies", frozenset({"a", "b"})) in typed
    assert ("butter", frozenset({"a"})) in typed


def test_a_kind_of_product_stands_for_all_its_items():
    """The last part of the category's path, without marks; other items do not fit."""
    assert ("cookies biscuits", frozenset({"a", "b"})) in _typed({"a", "b", "c"}, "butter cookies", {"a"})
    assert ("tea bags", frozenset({"c"})) in _typed({"c"}, "green tea", {"c"})


def test_other_words_and_misspelt_ones_mean_the_same_items():
    """What fits stays; a misspelt word keeps its first letter and is a letter away, and short ones stay."""
    typed = _typed({"a", "b"}, "butter cookies", {"a"}, seeds=300)
    same = {query for query, bought in typed if bought == {"a"}}
    assert "butter biscuits" in same
    assert same & {"buter cookies", "butetr cookies", "buttter cookies", "butter cookes", "butter coookies"}
    assert all(query.startswith(("b", "c")) for query in same)


def test_what_cannot_be_changed_stays():
    """Requests without a query, and a single short word of an item without a kind."""
    plain, short = ShopRequest(("c",), "", frozenset({"a"})), ShopRequest((), "up", frozenset({"d"}))
    assert as_typed([plain, short], [plain, short], WORDS, share=1.0, seed=0) == [plain, short]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)])
def test_a_share_of_the_searches_is_changed(share: float, low: int, high: int):
    """The same ones for the same seed."""
    request = ShopRequest((), "", frozenset({"a", "b"}))
    searches = [ShopRequest((), "butter cookies", frozenset({"a"}))] * 200
    typed = as_typed([request] * 200, searches, WORDS, share=share, seed=3)
    changed = sum(one.query != "butter cookies" for one in typed)
    assert low <= changed <= high
    assert typed == as_typed([request] * 200, searches, WORDS, share=share, seed=3)
