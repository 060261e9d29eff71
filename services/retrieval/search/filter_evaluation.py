"""Evaluates filters on catalogue columns."""

from __future__ import annotations

import math
import re
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.arrays import BoolMask
from common.errors import InvalidRequest
from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range, walk

# `float` also reads 1_0, spaces, and digits of every script.
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_AVAILABLE: Final = Match("available", ("true",))


def check_filter(condition: Filter, schema: pa.Schema) -> None:
    """Raise InvalidRequest, naming the field, if a filter cannot be answered over columns of ``schema``."""
    for path, part in walk(condition):
        if isinstance(part, Match):
            _check_match(part, f"{path}.match", schema)
        elif isinstance(part, Range):
            _check_range(part, f"{path}.range", schema)


def for_sale(condition: Filter | None) -> Filter:
    """Return the condition restricted to items that can be bought now, unless it names `available` itself."""
    if condition is None:
        return _AVAILABLE
    if any(isinstance(part, Match) and part.attribute == _AVAILABLE.attribute for _, part in walk(condition)):
        return condition
    return AllOf((_AVAILABLE, condition))


def evaluate(condition: Filter, table: pa.Table) -> BoolMask:
    """Return which rows of ``table`` pass a checked filter; shape [rows]."""
    match condition:
        case Match(attribute, values):
            return _mask(_matches(table[attribute], values))
        case Range(attribute, minimum, maximum):
            return _within(table[attribute], minimum, maximum)
        case AllOf(filters):
            return _join(np.logical_and, filters, table, start=True)
        case AnyOf(filters):
            return _join(np.logical_or, filters, table, start=False)
        case NoneOf(filters):
            return ~_join(np.logical_or, filters, table, start=False)


def _check_match(condition: Match, path: str, schema: pa.Schema) -> None:
    kind = _type_of(condition.attribute, path, schema)
    if pa.types.is_nested(kind):
        raise InvalidRequest(f"{path}.attribute: {condition.attribute!r} holds {kind} and can't be matched")


def _check_range(condition: Range, path: str, schema: pa.Schema) -> None:
    kind = _type_of(condition.attribute, path, schema)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InvalidRequest(f"{path}.attribute: {condition.attribute!r} is not numeric; use `match`")


def _type_of(attribute: str, path: str, schema: pa.Schema) -> pa.DataType:
    if attribute not in schema.names:
        known = ", ".join(sorted(schema.names))
        raise InvalidRequest(f"{path}.attribute: the catalogue has no {attribute[:100]!r}, it has {known}")
    return schema.field(attribute).type


def _matches(column: pa.ChunkedArray, values: tuple[str, ...]) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_boolean(kind):
        return pc.is_in(column, value_set=pa.array([value == "true" for value in values if value in ("true", "false")]))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pc.is_in(_as_floats(column), value_set=_in_precision_of(column, _numbers(values)))
    # Dictionaries, dates and other types are compared as text.
    text = column if pa.types.is_string(kind) else pc.cast(column, pa.string())
    return pc.is_in(text, value_set=pa.array(values, pa.string()))


def _numbers(values: tuple[str, ...]) -> list[float]:
    """Return the values that are numbers, so that 2 and 2.0 are one; the others match nothing."""
    numbers = [float(value) for value in values if _NUMBER.fullmatch(value)]
    return [number for number in numbers if math.isfinite(number)]


def _as_floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.add(pc.cast(column, pa.float64(), safe=False), 0.0)  # `is_in` tells -0.0 from 0.0


def _in_precision_of(column: pa.ChunkedArray, numbers: list[float]) -> pa.Array:
    """Round numbers as the column's values are, so that 0.1 finds the 0.1 of a column of float32."""
    exact = pa.array(numbers, pa.float64())
    if pa.types.is_floating(column.type):
        exact = pc.cast(exact, column.type, safe=False)
    return pc.add(pc.cast(exact, pa.float64()), 0.0)


def _within(column: pa.ChunkedArray, minimum: float | None, maximum: float | None) -> BoolMask:
    mask = _mask(pc.is_valid(column))
    if minimum is not None:
        mask &= _mask(pc.greater_equal(_as_floats(column), _in_precision_of(column, [minimum])[0]))
    if maximum is not None:
        mask &= _mask(pc.less_equal(_as_floats(column), _in_precision_of(column, [maximum])[0]))
    return mask


def _join(combine: np.ufunc, filters: tuple[Filter, ...], table: pa.Table, *, start: bool) -> BoolMask:
    masks = (evaluate(part, table) for part in filters)
    joined: BoolMask = reduce(combine, masks, np.full(table.num_rows, start))
    return joined


def _mask(column: pa.ChunkedArray) -> BoolMask:
    """Turn a boolean column into a mask; missing values are false."""
    mask: BoolMask = np.array(pc.fill_null(column, fill_value=False).to_numpy(), dtype=np.bool_)
    return mask
