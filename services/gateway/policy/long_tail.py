"""Which chosen items are replaced to reach the minimum share of long-tail items, or of new items.

A substitution replaces a chosen item that is not of the wanted kind with one that is. Each is the cheapest in
probability that the caps allow, given those before it. With at most one kind of cap, the outcome is the most probable
choice with that many long-tail items: cap and limit make a matroid, in which the best base with one more element of a
colour is one best swap away (Gabow and Tarjan, "Efficient algorithms for a family of matroid intersection problems",
Journal of Algorithms 5, 1984). With caps for both brand and category this no longer holds: replacing several items at
once might cost less, or reach a share that single substitutions do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import CapKey, Caps


@dataclass(frozen=True)
class Substitution:
    """An item of the wanted kind and the chosen item that it replaces.

    Attributes:
        substitute: The item of the wanted kind.
        replaced: The chosen item.
        for_new_items: Whether the share of new items asked for it, and not that of the long tail.
    """

    substitute: RankedCandidate
    replaced: RankedCandidate
    for_new_items: bool = False

    @property
    def cost(self) -> float:
        """The probability lost; 0 if there are no probabilities."""
        return _probability(self.replaced) - _probability(self.substitute)


def in_long_tail(item: RankedCandidate) -> bool:
    """Return whether an item is of the long tail."""
    return item.candidate.long_tail


class SubstitutionFinder:
    """Finds the cheapest substitutions that bring items of a kind into a choice.

    Args:
        allowed: Every item that may be chosen, best first.
        chosen: The items that are chosen.
        caps: The caps, with the chosen items counted.
        is_wanted: Whether an item is of the wanted kind; by default, of the long tail.
    """

    def __init__(
        self,
        allowed: Sequence[RankedCandidate],
        chosen: Sequence[RankedCandidate],
        caps: Caps,
        is_wanted: Callable[[RankedCandidate], bool] = in_long_tail,
    ) -> None:
        self._caps = caps
        self._position = {item.candidate.item_id: position for position, item in enumerate(allowed)}
        chosen_ids = {item.candidate.item_id for item in chosen}
        # Lists by cap key; the next item to use is at the end of its list.
        self._replaceable = self._by_key(
            sorted((i for i in chosen if not is_wanted(i)), key=self._preference, reverse=True)
        )
        substitutes = (i for i in allowed if is_wanted(i) and i.candidate.item_id not in chosen_ids)
        self._substitutes = self._by_key(sorted(substitutes, key=self._preference))

    def cheapest(self, count: int) -> Sequence[Substitution]:
        """Return ``count`` substitutions, each the cheapest after those before it; fewer if no more are allowed."""
        substitutions: list[Substitution] = []
        while len(substitutions) < count:
            substitution = self._next()
            if substitution is None:
                break
            self._apply(substitution)
            substitutions.append(substitution)
        return substitutions

    def _next(self) -> Substitution | None:
        worst: dict[CapKey, RankedCandidate] = {}
        for key, items in self._replaceable.items():
            for cap in _caps_freed(key) if items else ():
                if cap not in worst or self._preference(items[-1]) < self._preference(worst[cap]):
                    worst[cap] = items[-1]
        possible = (
            Substitution(items[-1], worst[reached])
            for key, items in self._substitutes.items()
            if items and (reached := self._caps.reached(key)) in worst
        )
        return min(possible, key=self._cost_and_distance, default=None)

    def _apply(self, substitution: Substitution) -> None:
        added, removed = self._caps.key(substitution.substitute), self._caps.key(substitution.replaced)
        self._substitutes[added].pop()
        self._replaceable[removed].pop()
        self._caps.add(added, 1)
        self._caps.add(removed, -1)

    def _preference(self, item: RankedCandidate) -> tuple[float, int]:
        return _probability(item), -self._position[item.candidate.item_id]

    def _cost_and_distance(self, substitution: Substitution) -> tuple[float, int]:
        """Order substitutions by cost, equal ones by how far the substitute is behind the item it replaces."""
        substitute, replaced = substitution.substitute.candidate.item_id, substitution.replaced.candidate.item_id
        return substitution.cost, self._position[substitute] - self._position[replaced]

    def _by_key(self, items: Iterable[RankedCandidate]) -> dict[CapKey, list[RankedCandidate]]:
        lists: dict[CapKey, list[RankedCandidate]] = defaultdict(list)
        for item in items:
            lists[self._caps.key(item)].append(item)
        return lists


def _caps_freed(key: CapKey) -> set[CapKey]:
    """Return every set of reached caps in which removing an item of this key makes room: none, one of them, both."""
    brand, category = key
    return {("", ""), (brand, ""), ("", category), key}


def _probability(item: RankedCandidate) -> float:
    return item.probability or 0.0
