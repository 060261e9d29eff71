"""Which items give way so that the long tail has its share.

Each swap lets in an item of the tail for one that is not, costs least probability among those that caps allow, and
counts from where the last one left. With one kind of cap at most, the outcome is the most probable choice with so many
items of the tail: cap and limit make a matroid, in which the best base with one more element of a colour is one best
swap away (Gabow and Tarjan, "Efficient algorithms for a family of matroid intersection problems", Journal of Algorithms
5, 1984). With caps for brand and category together that holds no longer: rearranging several items at once might cost
less, or reach a share that single swaps do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.gateway.candidates import Item
from services.gateway.policy.caps import Caps, Kind


@dataclass(frozen=True)
class Substitution:
    """An item of the tail that came in, and the one that gave way to it."""

    came_in: Item
    gave_way: Item

    @property
    def cost(self) -> float:
        """The probability lost; 0 where there are no probabilities."""
        return _probability(self.gave_way) - _probability(self.came_in)


class LongTailSubstitution:
    """Finds swaps that bring items of the tail into a choice.

    Args:
        allowed: Every item that might be chosen, best first.
        chosen: Those that are.
        caps: What must hold, with the chosen items counted.
    """

    def __init__(self, allowed: Sequence[Item], chosen: Sequence[Item], caps: Caps) -> None:
        self._caps = caps
        self._place = {item.candidate.item_id: place for place, item in enumerate(allowed)}
        inside = {item.candidate.item_id for item in chosen}
        # By kind, the next to be swapped at the end of each list.
        self._giving = self._by_kind(
            sorted((i for i in chosen if not i.candidate.long_tail), key=self._worth, reverse=True)
        )
        waiting = (i for i in allowed if i.candidate.long_tail and i.candidate.item_id not in inside)
        self._waiting = self._by_kind(sorted(waiting, key=self._worth))

    def cheapest(self, count: int) -> Sequence[Substitution]:
        """Return ``count`` swaps, each the cheapest after those before it; fewer where no more are allowed."""
        swaps: list[Substitution] = []
        while len(swaps) < count:
            swap = self._next()
            if swap is None:
                break
            self._make(swap)
            swaps.append(swap)
        return swaps

    def _next(self) -> Substitution | None:
        worst: dict[Kind, Item] = {}
        for kind, items in self._giving.items():
            for part in _parts(kind) if items else ():
                if part not in worst or self._worth(items[-1]) < self._worth(worst[part]):
                    worst[part] = items[-1]
        possible = (
            Substitution(items[-1], worst[full])
            for kind, items in self._waiting.items()
            if items and (full := self._caps.full(kind)) in worst
        )
        return min(possible, key=self._loss, default=None)

    def _make(self, swap: Substitution) -> None:
        coming, going = self._caps.kind(swap.came_in), self._caps.kind(swap.gave_way)
        self._waiting[coming].pop()
        self._giving[going].pop()
        self._caps.count(coming, 1)
        self._caps.count(going, -1)

    def _worth(self, item: Item) -> tuple[float, int]:
        return _probability(item), -self._place[item.candidate.item_id]

    def _loss(self, swap: Substitution) -> tuple[float, int]:
        """Order swaps by cost, equal ones by how far down the order the item comes from."""
        place = self._place
        return swap.cost, place[swap.came_in.candidate.item_id] - place[swap.gave_way.candidate.item_id]

    def _by_kind(self, items: Iterable[Item]) -> dict[Kind, list[Item]]:
        lists: dict[Kind, list[Item]] = defaultdict(list)
        for item in items:
            lists[self._caps.kind(item)].append(item)
        return lists


def _parts(kind: Kind) -> set[Kind]:
    """Return what an item of a kind can give way for: a place at all, in its brand, in its category, in both."""
    brand, category = kind
    return {("", ""), (brand, ""), ("", category), kind}


def _probability(item: Item) -> float:
    return item.probability or 0.0
