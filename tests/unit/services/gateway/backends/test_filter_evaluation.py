"""Three-valued filters over the attributes that the gateway knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.gateway.backends.filter_evaluation import passes
from services.gateway.candidates import Candidate

_ITEM = Candidate("i", 1.0, brand="acme", category="dairy", price=2.0)
_BARE = Candidate("i", 1.0, available=False)
_UNKNOWN = Match("language", ("en",))
_TRUE = Match("brand", ("acme",))
_FALSE = Match("brand", ("zenith",))


@pytest.mark.parametrize(
    ("condition", "item", "decision"),
    [
        (_TRUE, _ITEM, True),
        (_FALSE, _ITEM, False),
        (Match("brand", ("Acme",)), _ITEM, False),
        (Match("brand", ("",)), _BARE, False),
        (Match("category", ("dairy", "x")), _ITEM, True),
        (Match("category", ("",)), _BARE, False),
        (Match("available", ("true",)), _ITEM, True),
        (Match("available", ("true",)), _BARE, False),
        (_UNKNOWN, _ITEM, None),
        (Match("price", ("2.0",)), _ITEM, None),
        (Range("price", 2.0, 2.0), _ITEM, True),
        (Range("price", 2.1, None), _ITEM, False),
        (Range("price", None, 1.9), _ITEM, False),
        (Range("price"), _ITEM, True),
        (Range("price"), _BARE, False),
        (Range("weight"), _ITEM, None),
        (AllOf(()), _ITEM, True),
        (AnyOf(()), _ITEM, False),
        (NoneOf(()), _ITEM, True),
        (AllOf((_TRUE, _UNKNOWN)), _ITEM, None),
        (AllOf((_FALSE, _UNKNOWN)), _ITEM, False),
        (AnyOf((_TRUE, _UNKNOWN)), _ITEM, True),
        (AnyOf((_FALSE, _UNKNOWN)), _ITEM, None),
        (NoneOf((_UNKNOWN,)), _ITEM, None),
        (NoneOf((_TRUE, _UNKNOWN)), _ITEM, False),
        (NoneOf((_FALSE,)), _ITEM, True),
    ],
)
def test_conditions_are_decided_in_three_values(condition: Filter, item: Candidate, decision: bool | None):
    """A condition holds, does not hold, or cannot be decided from what is known of the item."""
    assert passes(condition, item) is decision


_LEAVES = st.sampled_from([_TRUE, _FALSE, _UNKNOWN])

_FILTERS = st.recursive(
    _LEAVES,
    lambda parts: st.builds(
        lambda kind, filters: kind(tuple(filters)), st.sampled_from([AllOf, AnyOf, NoneOf]), st.lists(parts, max_size=3)
    ),
    max_leaves=8,
)


@given(_FILTERS, st.booleans())
def test_a_decision_holds_whatever_the_unknown_is(condition: Filter, truth: bool):
    """A decision is the one that would be made if every attribute were known."""
    decision = passes(condition, _ITEM)
    assert decision is None or decision is passes(_reveal(condition, truth), _ITEM)


def _reveal(condition: Filter, truth: bool) -> Filter:
    if condition == _UNKNOWN:
        return _TRUE if truth else _FALSE
    if isinstance(condition, AllOf | AnyOf | NoneOf):
        return type(condition)(tuple(_reveal(part, truth) for part in condition.filters))
    return condition
