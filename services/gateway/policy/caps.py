"""Caps per brand and category, and what is counted against them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.gateway.candidates import Item

# Brand and category; empty where unknown, or not capped.
Kind = tuple[str, str]


@dataclass
class Caps:
    """How many items of a brand and of a category there may be (None: unlimited), and how many there are.

    Items without a brand (or category) are not counted against its cap: unknown is not one brand.
    """

    brand: int | None
    category: int | None
    _brands: Counter[str] = field(default_factory=Counter)
    _categories: Counter[str] = field(default_factory=Counter)

    def kind(self, item: Item) -> Kind:
        """Return what the caps tell items apart by."""
        return (
            item.candidate.brand if self.brand is not None else "",
            item.candidate.category if self.category is not None else "",
        )

    def count(self, kind: Kind, more: int) -> None:
        """Count so many items of a kind more."""
        self._brands[kind[0]] += more
        self._categories[kind[1]] += more

    def let_in(self, kind: Kind) -> bool:
        """Tell whether there is room for one more item of a kind."""
        return self.full(kind) == ("", "")

    def full(self, kind: Kind) -> Kind:
        """Return the kind as far as its caps are reached: of which brand and category an item has to give way."""
        brand, category = kind
        return (
            brand if self.brand is not None and self._brands[brand] >= self.brand else "",
            category if self.category is not None and self._categories[category] >= self.category else "",
        )
