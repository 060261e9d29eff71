"""What an answer must respect: a threshold, blocked items, caps per brand and category, a limit.

The order is the stages' own: policy leaves items out and never moves one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.items import Item


@dataclass(frozen=True)
class Policy:
    """What an answer must respect; None means unlimited.

    Items without a brand (or category) are not counted against its cap: unknown is not one brand.
    """

    limit: int = 10
    min_probability: float = 0.0
    blocked: frozenset[str] = frozenset()
    max_per_brand: int | None = None
    max_per_category: int | None = None


@dataclass(frozen=True)
class Selection:
    """The items chosen, in the order given, and how many the threshold left out."""

    items: Sequence[Item]
    below_threshold: int


def select(items: Sequence[Item], policy: Policy) -> Selection:
    """Choose the first items that the policy allows, at most ``policy.limit``.

    An item without a probability passes the threshold: nothing is known against it.
    """
    likely = [item for item in items if item.probability is None or item.probability >= policy.min_probability]
    allowed = [item for item in likely if item.candidate.item_id not in policy.blocked]
    return Selection(_capped(allowed, policy), len(items) - len(likely))


def _capped(items: Sequence[Item], policy: Policy) -> Sequence[Item]:
    brands: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    chosen: list[Item] = []
    for item in items:
        brand, category = item.candidate.brand, item.candidate.category
        if len(chosen) == policy.limit:
            break
        if _full(brands, brand, policy.max_per_brand) or _full(categories, category, policy.max_per_category):
            continue
        brands[brand] += 1
        categories[category] += 1
        chosen.append(item)
    return chosen


def _full(counts: Counter[str], value: str, cap: int | None) -> bool:
    return cap is not None and bool(value) and counts[value] >= cap
