"""The policy: threshold, blocked items, caps per brand and category, limit, and minimum share of the long tail.

Policy removes and replaces items, but never changes the order of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import Caps
from services.gateway.policy.long_tail import Substitution, SubstitutionFinder

# 0.1 * 30 is slightly above 3 in floating point, and must not be rounded up to 4.
_ROUNDING_ERROR: Final = 1e-9


@dataclass(frozen=True)
class Policy:
    """The rules of an answer; None means unlimited.

    Attributes:
        limit: The maximum number of items.
        min_probability: Items below it are left out.
        blocked: Ids of items that are never chosen.
        max_per_brand: The maximum number of items of one brand.
        max_per_category: The maximum number of items of one category.
        min_long_tail_share: The minimum share of long-tail items among those chosen, as far as the candidates and the
            other rules allow; None is 0.
        keep_duplicates: Whether items with the same text may each have a place.
    """

    limit: int = 10
    min_probability: float = 0.0
    blocked: frozenset[str] = frozenset()
    max_per_brand: int | None = None
    max_per_category: int | None = None
    min_long_tail_share: float | None = None
    keep_duplicates: bool = False


@dataclass(frozen=True)
class Selection:
    """The items chosen, in the order given.

    Attributes:
        items: The items.
        below_threshold: How many items the threshold left out.
        substitutions: Which long-tail items replaced which items, cheapest first.
        duplicates: How many items were left out because a better one has the same text.
        allowed: Every item that threshold, blocked items and duplicates leave, in the order given.
    """

    items: Sequence[RankedCandidate]
    below_threshold: int
    substitutions: Sequence[Substitution] = ()
    duplicates: int = 0
    allowed: Sequence[RankedCandidate] = ()


def apply_policy(items: Sequence[RankedCandidate], policy: Policy) -> Selection:
    """Choose the first items that the policy allows, then substitute long-tail items up to their minimum share.

    An item without a probability passes the threshold.
    """
    likely = [item for item in items if item.probability is None or item.probability >= policy.min_probability]
    unblocked = [item for item in likely if item.candidate.item_id not in policy.blocked]
    allowed = unblocked if policy.keep_duplicates else _first_of_each_text(unblocked)
    caps = Caps(policy.max_per_brand, policy.max_per_category)
    chosen = _choose(allowed, policy.limit, caps)
    substitutions = _substitutions(allowed, chosen, policy, caps)
    if substitutions:
        chosen = _substitute(allowed, chosen, substitutions)
    return Selection(chosen, len(items) - len(likely), substitutions, len(unblocked) - len(allowed), allowed)


def _first_of_each_text(items: list[RankedCandidate]) -> list[RankedCandidate]:
    """Return the first item of each text, and every item whose text is not known."""
    seen: set[int] = set()
    distinct = []
    for item in items:
        text = item.candidate.text_hash
        if not text or text not in seen:
            seen.add(text)
            distinct.append(item)
    return distinct


def _choose(items: Sequence[RankedCandidate], limit: int, caps: Caps) -> Sequence[RankedCandidate]:
    """Choose the first ``limit`` items within the caps, and count them there."""
    chosen: list[RankedCandidate] = []
    for item in items:
        if len(chosen) == limit:
            break
        key = caps.key(item)
        if caps.has_room(key):
            caps.add(key, 1)
            chosen.append(item)
    return chosen


def _substitutions(
    allowed: Sequence[RankedCandidate], chosen: Sequence[RankedCandidate], policy: Policy, caps: Caps
) -> Sequence[Substitution]:
    required = math.ceil((policy.min_long_tail_share or 0.0) * len(chosen) - _ROUNDING_ERROR)
    missing = required - sum(item.candidate.long_tail for item in chosen)
    return SubstitutionFinder(allowed, chosen, caps).cheapest(missing) if missing > 0 else ()


def _substitute(
    allowed: Sequence[RankedCandidate], chosen: Sequence[RankedCandidate], substitutions: Sequence[Substitution]
) -> Sequence[RankedCandidate]:
    replaced = {each.replaced.candidate.item_id for each in substitutions}
    added = (each.substitute for each in substitutions)
    kept = {item.candidate.item_id for item in (*chosen, *added)} - replaced
    return [item for item in allowed if item.candidate.item_id in kept]
