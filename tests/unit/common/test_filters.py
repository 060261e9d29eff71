"""Filters as values."""

from __future__ import annotations

from common.filters import AllOf, AnyOf, Match, Range, walk


def test_every_condition_is_walked_with_its_path():
    """Conditions come parents first, each with its path in the contract's message."""
    brand, price = Match("brand", ("acme",)), Range("price", 1)
    either = AnyOf((price,))
    both = AllOf((brand, either))
    assert list(walk(both)) == [
        ("filter", both),
        ("filter.all_of.filters[0]", brand),
        ("filter.all_of.filters[1]", either),
        ("filter.all_of.filters[1].any_of.filters[0]", price),
    ]
