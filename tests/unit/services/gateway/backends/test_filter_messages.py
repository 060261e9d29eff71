"""Filters between the wire and values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.gateway.backends import filter_messages

_TEXT = st.text(min_size=1, max_size=5).filter(lambda text: text.isprintable())


_BOUND = st.none() | st.floats(-10, 0)


_VALUES = st.sets(_TEXT, min_size=1, max_size=3).map(tuple)


_RANGES = st.builds(Range, _TEXT, _BOUND, st.none() | st.floats(0, 10))


_LEAVES: st.SearchStrategy[Filter] = st.builds(Match, _TEXT, _VALUES) | _RANGES


_FILTERS = st.recursive(
    _LEAVES,
    lambda parts: st.builds(
        lambda kind, filters: kind(tuple(filters)), st.sampled_from([AllOf, AnyOf, NoneOf]), st.lists(parts, max_size=3)
    ),
    max_leaves=6,
)


@given(_FILTERS)
def test_a_filter_survives_the_wire(condition: Filter):
    """A filter written and read again is the same filter."""
    message = retrieval_pb2.Filter.FromString(filter_messages.write(condition).SerializeToString())
    try:
        assert filter_messages.read(message) == condition
    except InvalidRequest as refused:
        assert "levels deep" in str(refused)  # noqa: PT017 - the one thing that a random filter may violate


def _nested(levels: int) -> retrieval_pb2.Filter:
    condition = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["acme"]))
    for _ in range(levels - 1):
        condition = retrieval_pb2.Filter(all_of=retrieval_pb2.FilterList(filters=[condition]))
    return condition


def _wide(conditions: int) -> retrieval_pb2.Filter:
    return retrieval_pb2.Filter(any_of=retrieval_pb2.FilterList(filters=[_nested(1)] * (conditions - 1)))


def test_filters_at_the_limits_are_read():
    """Eight levels, a hundred conditions and a thousand values are allowed."""
    filter_messages.read(_nested(8))
    filter_messages.read(_wide(100))
    filter_messages.read(retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a", values=["v"] * 1_000)))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (retrieval_pb2.Filter(), r"^filter: set one of"),
        (_nested(9), r"^filter\.all_of.*: at most 8 levels"),
        (_wide(101), r"^filter: at most 100 conditions, has 101"),
        (retrieval_pb2.Filter(match=retrieval_pb2.Match(values=["v"])), r"^filter\.match\.attribute"),
        (retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a")), r"^filter\.match\.values: 1 to 1,000"),
        (
            retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a", values=["v"] * 1_001)),
            r"^filter\.match\.values.*has 1,001",
        ),
        (retrieval_pb2.Filter(range=retrieval_pb2.Range(min=1)), r"^filter\.range\.attribute"),
        (retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", min=float("nan"))), r"^filter\.range\.min"),
        (retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", max=float("nan"))), r"^filter\.range\.max"),
        (retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", min=2, max=1)), r"^filter\.range\.min"),
        (
            retrieval_pb2.Filter(none_of=retrieval_pb2.FilterList(filters=[_nested(1), retrieval_pb2.Filter()])),
            r"^filter\.none_of\[1\]: set one of",
        ),
    ],
)
def test_a_filter_against_the_contract_is_refused(message: retrieval_pb2.Filter, said: str):
    """What the contract forbids is refused with the field's name."""
    with pytest.raises(InvalidRequest, match=said):
        filter_messages.read(message)
