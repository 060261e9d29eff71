"""Positions filled at random, with the probability of what is shown.

From the first position on, each position is filled at random with probability ``share``: its item changes places with
an item drawn uniformly from the pool at or after that position (a Fisher-Yates shuffle of which each step happens with
probability ``share``). So every item of the pool can be shown at every position, which off-policy estimates need.

The probability of each is known. Let the pool's items be ``1…M`` in the policy's order, ``m(i) = M - i + 1``, and
``S(i)`` the product of ``1 - share / m(j)`` over all ``j < i``. The item of place ``l`` is shown at position ``k`` with
probability ``S(i) * share / m(i)`` where ``i = min(l, k)``, plus ``S(l) * (1 - share)`` if ``l = k``.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.policy import Policy, Selection

# How many of the best candidates random positions are filled from. More make each rarer, and estimates less certain.
DEFAULT_POOL: Final = 20


class Draws(Protocol):
    """What is drawn from, such as `random.Random`."""

    def random(self) -> float:
        """Return a number of [0, 1)."""
        ...

    def randrange(self, start: int, stop: int) -> int:
        """Return a whole number of [start, stop)."""
        ...


@dataclass(frozen=True)
class Exploration:
    """An answer with positions that were filled at random.

    Attributes:
        items: What is shown.
        propensities: For each item the probability that it was put at its position; empty if nothing was drawn.
        pool: The ids of what could be shown, in the policy's order; empty if nothing was drawn.
    """

    items: Sequence[RankedCandidate]
    propensities: Sequence[float] = ()
    pool: Sequence[str] = ()

    def propensities_of(self, shown: Sequence[RankedCandidate]) -> Sequence[float]:
        """Return the propensities of an answer into which rules have put items since, which they always do."""
        if not self.propensities:
            return ()
        known = dict(zip((item.candidate.item_id for item in self.items), self.propensities, strict=True))
        return [known.get(item.candidate.item_id, 1.0) for item in shown]


class Explorer:
    """Fills positions of answers at random, if its share or the request's is above 0.

    Args:
        share: The probability that a position is filled at random, unless the request has its own.
        max_pool: How many of the best candidates random positions are filled from.
        draws: What is drawn from; by default seeded by the system.
    """

    def __init__(self, share: float, max_pool: int, draws: Draws | None = None) -> None:
        self._share = share
        self._max_pool = max_pool
        self._draws = draws or random.Random()  # no secret is drawn  # nosec B311

    def explore(
        self, selection: Selection, policy: Policy, share: float | None, slotted: Collection[str] = ()
    ) -> Exploration:
        """Return what is shown; `explore` with the request's share, or with the server's if it is None."""
        share = self._share if share is None else share
        if not share or not selection.items:
            return Exploration(selection.items)
        return explore(selection, policy, share, self._max_pool, self._draws, slotted)


def explore(
    selection: Selection, policy: Policy, share: float, max_pool: int, draws: Draws, slotted: Collection[str] = ()
) -> Exploration:
    """Fill a share of the positions at random.

    Under caps, or a minimum share of the long tail, the items chosen only change places with one another, since another
    item could break the rule.

    Args:
        selection: What the policy chose.
        policy: The policy.
        share: The probability that a position is filled at random, 0 to 1.
        max_pool: The maximum number of items to fill positions from; at least those chosen are.
        draws: What is drawn from.
        slotted: Items that rules put in their slots afterwards: they are not drawn, and follow the others. Otherwise
            the place of every other item would depend on where these were drawn.
    """
    fixed = [item for item in selection.items if item.candidate.item_id in slotted]
    pool = [item for item in selection.items if item.candidate.item_id not in slotted]
    shown = len(pool)
    if not shown:
        return Exploration(fixed)
    if not _has_rules_of_the_whole(policy):
        chosen = {item.candidate.item_id for item in pool} | set(slotted)
        others = (item for item in selection.allowed if item.candidate.item_id not in chosen)
        pool += [item for item, _ in zip(others, range(max_pool - shown), strict=False)]
    places = list(range(len(pool)))
    for position in range(shown):
        if draws.random() < share:
            drawn = draws.randrange(position, len(pool))
            places[position], places[drawn] = places[drawn], places[position]
    table = PropensityTable(len(pool), shown, share)
    return Exploration(
        [*(pool[place] for place in places[:shown]), *fixed],
        [*(table.propensity(place, position) for position, place in enumerate(places[:shown])), *[1.0] * len(fixed)],
        [item.candidate.item_id for item in pool],
    )


class PropensityTable:
    """The probabilities of a shuffle of which each step happens with probability ``share``; see the module.

    Args:
        pool: Number of items, M.
        positions: Number of positions that are shown.
        share: The probability that a position is filled at random.
    """

    def __init__(self, pool: int, positions: int, share: float) -> None:
        self._pool = pool
        self._share = share
        self._unmoved = [1.0]
        for position in range(positions):
            self._unmoved.append(self._unmoved[-1] * (1.0 - share / (pool - position)))

    def propensity(self, place: int, position: int) -> float:
        """Return the probability that the item of a place in the policy's order is shown at a position, both from 0."""
        first = min(place, position)
        drawn = self._unmoved[first] * self._share / (self._pool - first)
        return drawn + self._unmoved[place] * (1.0 - self._share) if place == position else drawn


def _has_rules_of_the_whole(policy: Policy) -> bool:
    shares = policy.min_long_tail_share or policy.min_new_item_share
    return bool(policy.max_per_brand or policy.max_per_category or shares)
