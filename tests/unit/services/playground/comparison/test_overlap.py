"""How two lists differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.playground.comparison.overlap import absence, mean, moves, rank_biased_overlap
from services.playground.gateways.request import AskedRequest, Rules

IDS = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10)


@given(IDS, IDS)
def test_overlap_is_symmetric_and_between_0_and_1(left: list[str], right: list[str]):
    """Rank-biased overlap does not depend on the order of the lists, 1 is the same list, 0 nothing in common."""
    found = rank_biased_overlap(left, right)
    assert found == pytest.approx(rank_biased_overlap(right, left))
    assert -1e-9 <= found <= 1 + 1e-9
    assert rank_biased_overlap(left, left) == pytest.approx(1)
    if not set(left) & set(right) and (left or right):
        assert found == pytest.approx(0)


def test_overlap_follows_the_definition():
    """Of lists of equal length, it is the weighted mean of the shares in common, the last one extrapolated."""
    shares = [0 / 1, 1 / 2, 3 / 3]  # of `abc` and `bca`: at depth 2 they share b
    p = 0.9
    expected = (1 - p) / p * sum(share * p**depth for depth, share in enumerate(shares, 1)) + shares[-1] * p**3
    assert rank_biased_overlap("abc", "bca", p) == pytest.approx(expected)


def test_a_swap_at_the_top_counts_more_than_one_at_the_end():
    """Higher places weigh more."""
    assert rank_biased_overlap("bacdef", "abcdef") < rank_biased_overlap("abcdfe", "abcdef")


def test_moves_name_both_places():
    """Each item has its place on both sides, None where it is not."""
    left, right = ([{"item_id": item} for item in items] for items in ("abc", "cad"))
    found = moves(left, right)
    assert found["places"] == {
        "a": {"left": 1, "right": 2},
        "b": {"left": 2, "right": None},
        "c": {"left": 3, "right": 1},
        "d": {"left": None, "right": 3},
    }
    assert found["overlap"] == 2


def _item(item_id: str, brand: str = "", category: str = "") -> dict[str, str]:
    return {"item_id": item_id, "brand": brand, "category": category}


@pytest.mark.parametrize(
    ("rules", "limit", "why"),
    [
        ({"blocked_item_ids": ["a"]}, 2, "blocked"),
        ({"exclude_history": True}, 2, "in_history"),
        ({"max_per_brand": 2}, 2, "brand_cap"),
        ({"max_per_category": 1}, 2, "category_cap"),
        ({"min_probability": 0.5}, 3, "threshold"),
        ({"min_probability": 0.5}, 2, "less_probable"),
        ({}, 2, "less_probable"),
    ],
)
def test_why_an_item_is_absent(rules: dict[str, object], limit: int, why: str):
    """The rule that leaves an item out is named, if the answers tell it."""
    right = [_item("x", "acme", "tea"), _item("y", "acme", "milk")]
    asked = AskedRequest(history=("a",), limit=limit, rules=Rules.model_validate(rules))
    assert absence(_item("a", "acme", "tea"), right, asked.rules.model_dump(), asked) == why


def test_the_mean_of_nothing_is_nothing():
    """No user answered: there is no mean."""
    assert mean([]) is None
    assert mean([1, 2]) == 1.5
