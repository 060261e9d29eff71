"""Conditions on items' attributes, as the contract allows them: a tree of plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 8
MAX_CONDITIONS: Final = 100
MAX_VALUES: Final = 1_000


@dataclass(frozen=True)
class Match:
    """The attribute has one of the values, compared as text and case-sensitively; an item without it does not match."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """The numeric attribute is within the bounds, both included; a bound of None is no bound."""

    attribute: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class AllOf:
    """Every condition holds; an empty list holds for every item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one condition holds; an empty list holds for no item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class NoneOf:
    """No condition holds; an empty list holds for every item."""

    filters: tuple[Filter, ...]


Filter = Match | Range | AllOf | AnyOf | NoneOf
_LIST_NAMES: Final = {AllOf: "all_of", AnyOf: "any_of", NoneOf: "none_of"}


def walk(condition: Filter, path: str = "filter") -> Iterator[tuple[str, Filter]]:
    """Yield every condition of a filter with its path in the contract's message, parents first."""
    yield path, condition
    if isinstance(condition, (AllOf, AnyOf, NoneOf)):
        for number, part in enumerate(condition.filters):
            yield from walk(part, f"{path}.{_LIST_NAMES[type(condition)]}.filters[{number}]")
