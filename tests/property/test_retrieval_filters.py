"""Filters over columns agree with filters decided item by item."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.retrieval.search.filter_evaluation import check_filter, evaluate

SCHEMA = pa.schema({"brand": pa.string(), "price": pa.float64(), "size": pa.int64(), "available": pa.bool_()})
bounds = st.none() | st.integers(-3, 3).map(float)
rows = st.fixed_dictionaries(
    {
        "brand": st.none() | st.sampled_from(["a", "b", ""]),
        "price": st.none() | st.integers(-3, 3).map(float),
        "size": st.none() | st.integers(-3, 3),
        "available": st.none() | st.booleans(),
    }
)
values = {
    "brand": st.sampled_from(["a", "b", "", "A"]),
    "price": st.sampled_from(["1", "2.0", "x"]),
    "size": st.sampled_from(["1", "-2", "true"]),
    "available": st.sampled_from(["true", "false", "True"]),
}
matches = st.sampled_from(sorted(values)).flatmap(
    lambda name: st.builds(Match, st.just(name), st.lists(values[name], min_size=1, max_size=3).map(tuple))
)
ranges = st.builds(Range, st.sampled_from(["price", "size"]), bounds, bounds).filter(
    lambda part: part.minimum is None or part.maximum is None or part.minimum <= part.maximum
)
filters = st.recursive(
    matches | ranges,
    lambda parts: (
        st.lists(parts, max_size=3)
        .map(tuple)
        .flatmap(lambda some: st.sampled_from([AllOf(some), AnyOf(some), NoneOf(some)]))
    ),
    max_leaves=8,
)


def passes(condition: Filter, row: dict[str, Any]) -> bool:
    """Decide one item by the words of the contract."""
    match condition:
        case Match(attribute, wanted):
            return row[attribute] is not None and any(written(row[attribute]) == written(value) for value in wanted)
        case Range(attribute, minimum, maximum):
            value = row[attribute]
            return value is not None and (minimum is None or value >= minimum) and (maximum is None or value <= maximum)
        case AllOf(parts):
            return all(passes(part, row) for part in parts)
        case AnyOf(parts):
            return any(passes(part, row) for part in parts)
        case NoneOf(parts):
            return not any(passes(part, row) for part in parts)


def written(value: Any) -> str:
    """Write a value as text, numbers in one way."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return str(float(value))
    except ValueError:
        return str(value)


@given(condition=filters, table=st.lists(rows, max_size=12))
@settings(max_examples=200, deadline=None)
def test_columns_agree_with_items(condition: Filter, table: list[dict[str, Any]]):
    """The mask has exactly the items that pass one by one."""
    check_filter(condition, SCHEMA)
    mask = evaluate(condition, pa.Table.from_pylist(table, schema=SCHEMA))
    assert mask.tolist() == [passes(condition, row) for row in table]
