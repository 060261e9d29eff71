"""Caps per brand and category, with the count of the items chosen so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.gateway.candidates import RankedCandidate

# Brand and category; each is empty if it is unknown or not capped.
CapKey = tuple[str, str]


@dataclass
class Caps:
    """How many items of one brand and of one category may be chosen (None: unlimited), and how many are.

    An item without a brand (or category) does not count against that cap: "unknown" is not one brand.
    """

    brand: int | None
    category: int | None
    _brands: Counter[str] = field(default_factory=Counter)
    _categories: Counter[str] = field(default_factory=Counter)

    def key(self, item: RankedCandidate) -> CapKey:
        """Return the brand and category that the item counts against."""
        return (
            item.candidate.brand if self.brand is not None else "",
            item.candidate.category if self.category is not None else "",
        )

    def add(self, key: CapKey, count: int) -> None:
        """Add ``count`` chosen items of a brand and category; negative to remove some."""
        self._brands[key[0]] += count
        self._categories[key[1]] += count

    def has_room(self, key: CapKey) -> bool:
        """Return whether one more item of a brand and category may be chosen."""
        return self.reached(key) == ("", "")

    def reached(self, key: CapKey) -> CapKey:
        """Return the key reduced to its reached caps: the brand and category that a replaced item must share."""
        brand, category = key
        return (
            brand if self.brand is not None and self._brands[brand] >= self.brand else "",
            category if self.category is not None and self._categories[category] >= self.category else "",
        )
