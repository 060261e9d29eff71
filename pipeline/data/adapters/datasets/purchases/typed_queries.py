"""Searches as people type them, whose relevant items are those of named product types.

The developers of Shortlist wrote the searches by hand for the catalogue of Complete Journey: needs ("snacks for a road
trip"), plain names, brands used as names, misspellings. They are no log of real searches, and nobody judged single
items: an item is as relevant as its product type. Product types that share a search are in the same part, so no type is
in both parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

import polars as pl

from common.errors import InvalidRequest

Part = Literal["train", "held-out"]
TYPE_COLUMN: Final = "product_type"
_FILE: Final = "typed_queries.tsv"
_CATEGORY: Final = " > "
_GRADES: Final = (2, 1)


@dataclass(frozen=True, order=True)
class ProductType:
    """A product type, of one category or of any (``None``).

    A few types are named like those of other categories, such as ``Premium``.
    """

    name: str
    category: str | None = None

    @classmethod
    def parse(cls, text: str) -> ProductType:
        """Parse ``Type`` or ``Category > Type``."""
        category, separator, name = text.rpartition(_CATEGORY)
        return cls(name, category if separator else None)


@dataclass(frozen=True)
class TypedQuery:
    """A search and the grades of product types: 2 for what was searched for, 1 for what would do or goes with it."""

    part: Part
    query: str
    grades: Mapping[ProductType, int]


@cache
def typed_queries() -> Sequence[TypedQuery]:
    """Return all searches, those to learn from first."""
    lines = files(__package__).joinpath(_FILE).read_text(encoding="utf-8").splitlines()
    return tuple(_parse(line) for line in lines if not line.startswith("#"))


def relevant_items(items: pl.DataFrame, part: Part) -> list[tuple[str, Mapping[str, float]]]:
    """Return the searches of one part, each with the grades of the items of its types.

    Args:
        items: Items with ``category`` and ``product_type``, as the adapter ``complete-journey`` returns them.
        part: The searches to learn from, or those held out.

    Raises:
        InvalidRequest: The items have no product types, or lack a type that a search names.
    """
    if TYPE_COLUMN not in items.columns:
        raise InvalidRequest("the typed searches are of Complete Journey; use --source complete-journey")
    found = _items_by_type(items)
    return [(one.query, _relevant(one, found)) for one in typed_queries() if one.part == part]


def judgements_of(items: pl.DataFrame) -> pl.DataFrame | None:
    """Return all searches as judgements, those held out as the split `test`; None if a type has no item here.

    Args:
        items: As for `relevant_items`.
    """
    try:
        parts = {"train": relevant_items(items, "train"), "test": relevant_items(items, "held-out")}
    except InvalidRequest:  # some of the catalogue, such as a sample
        return None
    rows = [
        (query, item_id, grade, split)
        for split, searches in parts.items()
        for query, relevant in searches
        for item_id, grade in relevant.items()
    ]
    return pl.DataFrame(rows, ["query", "item_id", "relevance", "split"], orient="row")


def _parse(line: str) -> TypedQuery:
    part, query, *graded = line.split("\t")
    grades = {
        ProductType.parse(name): grade
        for grade, names in zip(_GRADES, graded, strict=True)
        for name in names.split("; ")
        if name
    }
    return TypedQuery("train" if part == "train" else "held-out", query, grades)


def _items_by_type(items: pl.DataFrame) -> Mapping[ProductType, Sequence[str]]:
    found: dict[ProductType, list[str]] = defaultdict(list)
    for item_id, category, name in items.select("item_id", "category", TYPE_COLUMN).iter_rows():
        if name is not None:
            found[ProductType(name)].append(item_id)
            found[ProductType(name, category)].append(item_id)
    return found


def _relevant(query: TypedQuery, found: Mapping[ProductType, Sequence[str]]) -> dict[str, float]:
    relevant: dict[str, float] = {}
    for kind, grade in query.grades.items():
        if kind not in found:
            raise InvalidRequest(f"the typed search {query.query!r} names {kind}, which the items do not have")
        for item_id in found[kind]:
            relevant[item_id] = max(float(grade), relevant.get(item_id, 0.0))
    return relevant
