"""A rule of a shop, and the items that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from common.filters import Filter

MAX_SLOT: Final = 500
MIN_FACTOR: Final = 0.1
MAX_FACTOR: Final = 10.0


class RuleKind(StrEnum):
    """What a rule does; named as in the contract."""

    BLOCK = "BLOCK"
    REQUIRE = "REQUIRE"
    PIN = "PIN"
    CAMPAIGN = "CAMPAIGN"
    BOOST = "BOOST"
    THRESHOLD = "THRESHOLD"
    REPURCHASE = "REPURCHASE"


@dataclass(frozen=True)
class ItemSelection:
    """Items with one of these ids, brands or categories, with the words of one of the phrases, or that pass the filter.

    Attributes:
        item_ids: Ids.
        brands: Brands, compared without case and in Unicode's normal form.
        categories: Categories, compared in the same way.
        phrases: Phrases; an item contains one if its title, brand and category have all of its words.
        where: A filter, which retrieval evaluates; None for none.
    """

    item_ids: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    where: Filter | None = None

    def __bool__(self) -> bool:
        return bool(self.item_ids or self.brands or self.categories or self.phrases or self.where)


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        rule_id: Its id.
        kind: What it does.
        items: What it is about; empty for a threshold.
        note: A note for people.
        is_disabled: Whether it is not applied.
        countries: The countries of requests that it is for; empty for all.
        placements: The placements of requests that it is for; empty for all.
        starts_at_us: From when on it is applied, in microseconds since 1970; None for always.
        ends_at_us: Until when it is applied, exclusive; None for always.
        slot: The position of a pin or of a campaign, from 1.
        factor: What a boost multiplies the odds by; below 1 it buries.
        min_probability: The threshold.
        version: The version of the rules in which it was written.
    """

    rule_id: str
    kind: RuleKind
    items: ItemSelection = field(default_factory=ItemSelection)
    note: str = ""
    is_disabled: bool = False
    countries: frozenset[str] = frozenset()
    placements: frozenset[str] = frozenset()
    starts_at_us: int | None = None
    ends_at_us: int | None = None
    slot: int = 0
    factor: float = 0.0
    min_probability: float = 0.0
    version: int = 0

    def holds_for(self, country: str, placement: str, now_us: int) -> bool:
        """Return whether it is applied to a request; one without a country or placement is in none that is listed."""
        return (
            not self.is_disabled
            and (not self.countries or country in self.countries)
            and (not self.placements or placement in self.placements)
            and (self.starts_at_us is None or self.starts_at_us <= now_us)
            and (self.ends_at_us is None or now_us < self.ends_at_us)
        )

    def overlaps(self, other: Rule) -> bool:
        """Return whether some request at some time has both rules applied."""
        return (
            not (self.is_disabled or other.is_disabled)
            and _meet(self.countries, other.countries)
            and _meet(self.placements, other.placements)
            and (self.starts_at_us is None or other.ends_at_us is None or self.starts_at_us < other.ends_at_us)
            and (other.starts_at_us is None or self.ends_at_us is None or other.starts_at_us < self.ends_at_us)
        )


def _meet(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or not one.isdisjoint(other)
