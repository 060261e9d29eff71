"""What an answer must respect: a threshold, blocked items, caps per brand and category, a limit, the tail's share.

The order is the stages' own: policy leaves items out and never moves one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.gateway.candidates import Item
from services.gateway.policy.caps import Caps
from services.gateway.policy.long_tail import LongTailSubstitution, Substitution

# A share of so many items that floating point puts a hair above a whole number is that number.
_HAIR: Final = 1e-9


@dataclass(frozen=True)
class Policy:
    """What an answer must respect; None means unlimited.

    Attributes:
        limit: How many items at most.
        min_probability: Items below it are left out.
        blocked: Items never to choose.
        max_per_brand: How many items of one brand at most.
        max_per_category: How many items of one category at most.
        min_long_tail_share: The least share of long-tail items among those chosen, as far as candidates and
            the other rules allow; None as 0.
    """

    limit: int = 10
    min_probability: float = 0.0
    blocked: frozenset[str] = frozenset()
    max_per_brand: int | None = None
    max_per_category: int | None = None
    min_long_tail_share: float | None = None


@dataclass(frozen=True)
class Selection:
    """The items chosen, in the order given.

    Attributes:
        items: The items.
        below_threshold: How many the threshold left out.
        swaps: Which of them came in for the tail's share, and which items gave way; cheapest first.
    """

    items: Sequence[Item]
    below_threshold: int
    swaps: Sequence[Substitution] = ()


def apply_policy(items: Sequence[Item], policy: Policy) -> Selection:
    """Choose the first items that the policy allows, at most ``policy.limit``, with the least share of the tail.

    An item without a probability passes the threshold: nothing is known against it.
    """
    likely = [item for item in items if item.probability is None or item.probability >= policy.min_probability]
    allowed = [item for item in likely if item.candidate.item_id not in policy.blocked]
    caps = Caps(policy.max_per_brand, policy.max_per_category)
    chosen = _capped(allowed, policy.limit, caps)
    swaps = _swaps(allowed, chosen, policy, caps)
    if swaps:
        gone = {swap.gave_way.candidate.item_id for swap in swaps}
        kept = {item.candidate.item_id for item in (*chosen, *(swap.came_in for swap in swaps))} - gone
        chosen = [item for item in allowed if item.candidate.item_id in kept]
    return Selection(chosen, len(items) - len(likely), swaps)


def _capped(items: Sequence[Item], limit: int, caps: Caps) -> Sequence[Item]:
    chosen: list[Item] = []
    for item in items:
        if len(chosen) == limit:
            break
        kind = caps.kind(item)
        if caps.let_in(kind):
            caps.count(kind, 1)
            chosen.append(item)
    return chosen


def _swaps(allowed: Sequence[Item], chosen: Sequence[Item], policy: Policy, caps: Caps) -> Sequence[Substitution]:
    places = math.ceil((policy.min_long_tail_share or 0.0) * len(chosen) - _HAIR)
    missing = places - sum(item.candidate.long_tail for item in chosen)
    return LongTailSubstitution(allowed, chosen, caps).cheapest(missing) if missing > 0 else ()
