"""Conditions on items' attributes, as the contract allows them: a tree of plain values."""

from __future__ import annotations

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
    """The numeric attribute lies within bounds, both included; None leaves a side open."""

    attribute: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class AllOf:
    """Every condition holds; none given holds for every item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one condition holds; none given holds for no item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class NoneOf:
    """No condition holds; none given holds for every item."""

    filters: tuple[Filter, ...]


Filter = Match | Range | AllOf | AnyOf | NoneOf
