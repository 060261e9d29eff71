"""Filters over catalogue columns."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from common.errors import InvalidRequest
from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.retrieval.search.filter_evaluation import check_filter, evaluate, for_sale

TABLE = pa.table(
    {
        "brand": pa.chunked_array([["acme", None, "zenith"], ["Acme", ""]]),
        "price": pa.array([1.0, 2.5, None, 4.0, -0.0]),
        "available": pa.array([True, False, True, None, True]),
        "volume": pa.array([0.1, 16_777_216, None, 3, 4], pa.float32()),
        "size": pa.array([1, 2, None, 4, 5], pa.int32()),
        "season": pa.array(["a", "b", None, "a", "b"]).dictionary_encode(),
        "tags": pa.array([["x"], [], None, ["x"], ["y"]]),
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (Match("brand", ("acme",)), [0]),
        (Match("brand", ("acme", "zenith", "unheard of")), [0, 2]),
        (Match("brand", ("",)), [4]),
        (Match("available", ("true",)), [0, 2, 4]),
        (Match("available", ("true", "false")), [0, 1, 2, 4]),
        (Match("available", ("True", "1")), []),
        (Match("price", ("2.5", "4", "much")), [1, 3]),
        (Match("price", ("nan", "inf")), []),
        (Match("price", ("1_0", " 1", "1 ", "٤", "1e", "")), []),
        (Match("price", ("+1", "4e0", ".25e1")), [0, 1, 3]),
        (Match("price", ("0", "-0.0")), [4]),
        (Match("volume", ("0.1", "16777217")), [0, 1]),
        (Range("volume", 0.1, 0.1), [0]),
        (Match("size", ("1", "5.0")), [0, 4]),
        (Match("season", ("a",)), [0, 3]),
        (Range("price", 1.0, 2.5), [0, 1]),
        (Range("price", minimum=2.5), [1, 3]),
        (Range("price", maximum=0.0), [4]),
        (Range("price", -math.inf, math.inf), [0, 1, 3, 4]),
        (Range("price"), [0, 1, 3, 4]),
        (Range("size", 1.5, 4), [1, 3]),
        (AllOf(()), [0, 1, 2, 3, 4]),
        (AnyOf(()), []),
        (NoneOf(()), [0, 1, 2, 3, 4]),
        (AllOf((Match("available", ("true",)), Range("price", 0))), [0, 4]),
        (AnyOf((Match("brand", ("zenith",)), Range("price", 3))), [2, 3]),
        (NoneOf((Match("brand", ("acme",)), Range("price", 3))), [1, 2, 4]),
        (NoneOf((NoneOf((Match("brand", ("acme",)),)),)), [0]),
    ],
)
def test_which_rows_pass(condition: Filter, rows: list[int]):
    """A filter passes exactly the rows that its definition says; a missing value matches nothing."""
    check_filter(condition, TABLE.schema)
    assert evaluate(condition, TABLE).nonzero()[0].tolist() == rows


def test_a_filter_over_no_rows():
    """A table without rows gives a mask without entries."""
    assert evaluate(AllOf((Match("brand", ("acme",)), Range("price", 1))), TABLE.slice(0, 0)).shape == (0,)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            Match("colour", ("red",)),
            r"filter\.match\.attribute: the catalogue has no 'colour', it has available, brand",
        ),
        (Match("", ("red",)), r"filter\.match\.attribute: the catalogue has no ''"),
        (Match("tags", ("x",)), r"filter\.match\.attribute: 'tags' holds list<.*> and can't be matched"),
        (Range("brand", 1), r"filter\.range\.attribute: 'brand' is not numeric; use `match`"),
        (Range("available", 1), r"filter\.range\.attribute: 'available' is not numeric"),
        (Range("weight", 1), r"filter\.range\.attribute: the catalogue has no 'weight'"),
        (
            AllOf((Range("price"), AnyOf((Range("brand"),)))),
            r"filter\.all_of\.filters\[1\]\.any_of\.filters\[0\]\.range",
        ),
    ],
)
def test_what_is_refused(condition: Filter, message: str):
    """A filter that can't be answered is refused with the place and the reason."""
    with pytest.raises(InvalidRequest, match=message):
        check_filter(condition, TABLE.schema)


def test_items_that_cannot_be_bought_are_left_out_unless_asked_for():
    """Without word of `available`, only available items pass; a filter that speaks of it decides alone."""
    brand, sold_out = Match("brand", ("acme",)), NoneOf((Match("available", ("true",)),))
    assert for_sale(None) == Match("available", ("true",))
    assert for_sale(brand) == AllOf((Match("available", ("true",)), brand))
    assert for_sale(sold_out) is sold_out
