"""Counts the values of items' attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.arrays import BoolMask
from common.errors import InvalidRequest
from services.retrieval.catalogue.snapshot import Snapshot

MAX_VALUES: Final = 1_000
MAX_BUCKETS: Final = 100
MAX_ATTRIBUTES: Final = 100
DEFAULT_VALUES: Final = 10
DEFAULT_BUCKETS: Final = 5


@dataclass(frozen=True)
class FacetRequest:
    """Which attributes to count, and how.

    Attributes:
        attributes: The attributes, at most 100; empty for all. One that is given twice is counted once.
        max_values: How many values of an attribute with texts, 1 to 1,000.
        max_buckets: How many buckets of a numeric attribute, 1 to 100.
    """

    attributes: Sequence[str] = ()
    max_values: int = DEFAULT_VALUES
    max_buckets: int = DEFAULT_BUCKETS

    def check(self, schema: pa.Schema) -> None:
        """Raise InvalidRequest, naming the field, if the attributes of ``schema`` cannot be counted so."""
        if len(self.attributes) > MAX_ATTRIBUTES:
            raise InvalidRequest(f"attributes: {len(self.attributes):,} given; at most {MAX_ATTRIBUTES}")
        for number, name in enumerate(self.attributes):
            if name not in schema.names or pa.types.is_nested(schema.field(name).type):
                known = ", ".join(sorted(countable(schema)))
                raise InvalidRequest(f"attributes[{number}]: {name[:100]!r} cannot be counted; there are {known}")
        for field, value, highest in (
            ("max_values", self.max_values, MAX_VALUES),
            ("max_buckets", self.max_buckets, MAX_BUCKETS),
        ):
            if not 1 <= value <= highest:
                raise InvalidRequest(f"{field}: {value} is not 1 to {highest:,}")


@dataclass(frozen=True)
class Bucket:
    """How many items have a value from ``minimum`` to ``maximum``, both inclusive."""

    minimum: float
    maximum: float
    items: int


@dataclass(frozen=True)
class Facet:
    """The counts of one attribute.

    Attributes:
        attribute: Its name.
        values: The most frequent values and their counts, falling, ties in alphabetical order; none if it is numeric.
        distinct_values: How many different values there are.
        other_items: How many items have a value that is not among ``values``; 0 if it is numeric.
        missing_items: How many items do not have the attribute.
        buckets: The values of a numeric attribute in about equal parts, rising.
    """

    attribute: str
    values: Sequence[tuple[str, int]]
    distinct_values: int
    other_items: int
    missing_items: int
    buckets: Sequence[Bucket] = ()


def countable(schema: pa.Schema) -> list[str]:
    """Return the names of the attributes that can be counted, in alphabetical order."""
    return sorted(field.name for field in schema if not pa.types.is_nested(field.type))


def count_facets(base: pa.Table, snapshot: Snapshot, rows: BoolMask, request: FacetRequest) -> list[Facet]:
    """Count the values of attributes over some rows of a snapshot, exactly.

    Args:
        base: The attributes of the release's items, one column each.
        snapshot: The catalogue; its delta has the same attributes.
        rows: Which rows to count; shape [rows].
        request: A checked request.
    """
    split = len(snapshot.base)
    of_base, of_delta = pa.array(rows[:split]), pa.array(rows[split:])
    facets = []
    for name in dict.fromkeys(request.attributes or countable(base.schema)):
        parts = [base[name].filter(of_base), snapshot.delta.table[name].filter(of_delta)]
        chunks = [chunk for part in parts for chunk in part.chunks]
        facets.append(_facet(name, pa.chunked_array(chunks, parts[0].type), request))
    return facets


def _facet(name: str, column: pa.ChunkedArray, request: FacetRequest) -> Facet:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numeric_facet(name, column, request.max_buckets)
    text = column if pa.types.is_string(kind) else pc.cast(column, pa.string())
    counts = pc.value_counts(text.drop_null())
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    values = ordered[: request.max_values]
    others = sum(count for _, count in ordered[request.max_values :])
    return Facet(name, values, len(ordered), others, column.null_count)


def _numeric_facet(name: str, column: pa.ChunkedArray, max_buckets: int) -> Facet:
    numbers = pc.cast(column, pa.float64(), safe=False).to_numpy()  # null becomes NaN
    missing = np.isnan(numbers)
    values, counts = np.unique(numbers[~missing], return_counts=True)
    present = len(numbers) - int(np.count_nonzero(missing))
    # A value belongs to the part in which the last of its items is, so that equal values are never parted.
    part = (np.cumsum(counts) - 1) * max_buckets // max(present, 1)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    stops = [*starts[1:], len(values)] if len(values) else []
    buckets = [
        Bucket(float(values[start]), float(values[stop - 1]), int(counts[start:stop].sum()))
        for start, stop in zip(starts, stops, strict=True)
    ]
    return Facet(name, (), len(values), 0, int(np.count_nonzero(missing)), buckets)
