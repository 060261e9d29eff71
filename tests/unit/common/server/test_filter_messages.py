"""Filters between messages and values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from common.server.filter_messages import read_filter, write_filter

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
    message = retrieval_pb2.Filter.FromString(write_filter(condition).SerializeToString())
    try:
        assert read_filter(message) == condition
    except InvalidRequest as refused:
        assert "deeper than 8 levels" in str(refused)  # noqa: PT017 - the one thing that a random filter may violate


def _nested(levels: int) -> retrieval_pb2.Filter:
    condition = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["acme"]))
    for _ in range(levels - 1):
        condition = retrieval_pb2.Filter(all_of=retrieval_pb2.FilterList(filters=[condition]))
    return condition


def _wide(conditions: int) -> retrieval_pb2.Filter:
    return retrieval_pb2.Filter(any_of=retrieval_pb2.FilterList(filters=[_nested(1)] * (conditions - 1)))


def test_filters_at_the_limits_are_read():
    """Eight levels, a hundred conditions and a thousand values are allowed."""
    read_filter(_nested(8))
    read_filter(_wide(100))
    read_filter(retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a", values=["v"] * 1_000)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (retrieval_pb2.Filter(), r"^filter: has no kind; set one of"),
        (_nested(9), r"^filter(\.all_of\.filters\[0\]){8}: deeper than 8 levels"),
        (_wide(101), r"^filter: more than 100 conditions"),
        (retrieval_pb2.Filter(match=retrieval_pb2.Match(values=["v"])), r"^filter\.match\.attribute"),
        (
            retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a")),
            r"^filter\.match\.values: 0 values; give 1 to 1000",
        ),
        (
            retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="a", values=["v"] * 1_001)),
            r"^filter\.match\.values: 1001 values",
        ),
        (retrieval_pb2.Filter(range=retrieval_pb2.Range(min=1)), r"^filter\.range\.attribute"),
        (
            retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", min=float("nan"))),
            r"^filter\.range\.min: is NaN",
        ),
        (
            retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", max=float("nan"))),
            r"^filter\.range\.max: is NaN",
        ),
        (
            retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="p", min=2, max=1)),
            r"^filter\.range\.min: 2\.0 is above max 1\.0",
        ),
        (
            retrieval_pb2.Filter(none_of=retrieval_pb2.FilterList(filters=[_nested(1), retrieval_pb2.Filter()])),
            r"^filter\.none_of\.filters\[1\]: has no kind",
        ),
    ],
)
def test_a_filter_against_the_contract_is_refused(message: retrieval_pb2.Filter, expected: str):
    """What the contract forbids is refused with the field's name."""
    with pytest.raises(InvalidRequest, match=expected):
        read_filter(message)
