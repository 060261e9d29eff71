"""The policy: threshold, blocked items, caps, limit, diversity, and minimum shares of the long tail and of new items.

Policy removes and replaces items, but never changes the order of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import Caps
from services.gateway.policy.diversity import choose_diverse
from services.gateway.policy.long_tail import Substitution, SubstitutionFinder, in_long_tail

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
        diversity: How much the items chosen should differ from one another, 0 to 1; None is 0.
        min_new_item_share: The minimum share of items added since the release, as far as the same allows; None is 0.
    """

    limit: int = 10
    min_probability: float = 0.0
    blocked: frozenset[str] = frozenset()
    max_per_brand: int | None = None
    max_per_category: int | None = None
    min_long_tail_share: float | None = None
    keep_duplicates: bool = False
    diversity: float | None = None
    min_new_item_share: float | None = None


@dataclass(frozen=True)
class Selection:
    """The items chosen, in the order given.

    Attributes:
        items: The items.
        below_threshold: How many items the threshold left out.
        substitutions: Which items replaced which for a minimum share: those for new items first, then the long tail's.
        duplicates: How many items were left out because a better one has the same text.
        allowed: Every item that threshold, blocked items and duplicates leave, in the order given.
    """

    items: Sequence[RankedCandidate]
    below_threshold: int
    substitutions: Sequence[Substitution] = ()
    duplicates: int = 0
    allowed: Sequence[RankedCandidate] = ()


def apply_policy(items: Sequence[RankedCandidate], policy: Policy) -> Selection:
    """Choose the items that the policy allows, then substitute new and long-tail items up to their minimum shares.

    The first ones are chosen, or those that differ if a diversity is set. An item without a probability passes the
    threshold.
    """
    likely = [item for item in items if item.probability is None or item.probability >= policy.min_probability]
    unblocked = [item for item in likely if item.candidate.item_id not in policy.blocked]
    allowed = unblocked if policy.keep_duplicates else _first_of_each_text(unblocked)
    caps = Caps(policy.max_per_brand, policy.max_per_category)
    if policy.diversity:
        chosen = choose_diverse(allowed, policy.limit, caps, policy.diversity)
    else:
        chosen = _choose(allowed, policy.limit, caps)
    # New items first: they are of the long tail, so that the substitutions for the long tail keep them.
    new = _substitutions(allowed, chosen, policy.min_new_item_share, caps, _is_new)
    chosen = _substitute(allowed, chosen, new)
    tail = _substitutions(allowed, chosen, policy.min_long_tail_share, caps, in_long_tail)
    chosen = _substitute(allowed, chosen, tail)
    substitutions = [*(replace(each, for_new_items=True) for each in new), *tail]
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


def _is_new(item: RankedCandidate) -> bool:
    return item.candidate.new_item


def _substitutions(
    allowed: Sequence[RankedCandidate],
    chosen: Sequence[RankedCandidate],
    min_share: float | None,
    caps: Caps,
    is_wanted: Callable[[RankedCandidate], bool],
) -> Sequence[Substitution]:
    """Return the substitutions that bring the share of the wanted items to its minimum, cheapest first."""
    required = math.ceil((min_share or 0.0) * len(chosen) - _ROUNDING_ERROR)
    missing = required - sum(map(is_wanted, chosen)) if required else 0
    return SubstitutionFinder(allowed, chosen, caps, is_wanted).cheapest(missing) if missing > 0 else ()


def _substitute(
    allowed: Sequence[RankedCandidate], chosen: Sequence[RankedCandidate], substitutions: Sequence[Substitution]
) -> Sequence[RankedCandidate]:
    if not substitutions:
        return chosen
    replaced = {each.replaced.candidate.item_id for each in substitutions}
    added = (each.substitute for each in substitutions)
    kept = {item.candidate.item_id for item in (*chosen, *added)} - replaced
    return [item for item in allowed if item.candidate.item_id in kept]
