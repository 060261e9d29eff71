"""Positions filled at random: the probabilities are exact, and the policy's rules still hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product

import pytest

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.exploration import Explorer, PropensityTable, explore
from services.gateway.policy.policy import Policy, Selection, apply_policy

MakeRanked = Callable[..., RankedCandidate]


class _PlannedDraws:
    """Draws that a test has planned: whether each position is random, and which item it gets."""

    def __init__(self, chances: Sequence[bool], items: Sequence[int]) -> None:
        self._chances = list(chances)
        self._items = list(items)

    def random(self) -> float:
        return 0.0 if self._chances.pop(0) else 1.0

    def randrange(self, start: int, stop: int) -> int:
        drawn = self._items.pop(0)
        assert start <= drawn < stop
        return drawn


def _selection(ranked: MakeRanked, count: int, policy: Policy) -> Selection:
    return apply_policy([ranked(f"i{at}", 1 - at / 100, brand=f"b{at % 2}") for at in range(count)], policy)


@pytest.mark.parametrize(("pool", "positions", "share"), [(4, 2, 0.3), (3, 3, 0.5), (4, 3, 1.0), (1, 1, 0.4)])
def test_the_probabilities_are_those_of_all_draws(pool: int, positions: int, share: float):
    """Summed over every sequence of draws, an item has the probability at each position that the formula says."""
    found: dict[tuple[int, int], float] = defaultdict(float)
    ranges = [range(position, pool) for position in range(positions)]
    for chances in product([True, False], repeat=positions):
        for drawn in product(*ranges):
            places, probability = list(range(pool)), 1.0
            for position, (chance, place) in enumerate(zip(chances, drawn, strict=True)):
                probability *= (share if chance else 1 - share) / (pool - position)
                if chance:
                    places[position], places[place] = places[place], places[position]
            for position, place in enumerate(places[:positions]):
                found[place, position] += probability
    table = PropensityTable(pool, positions, share)
    for place, position in product(range(pool), range(positions)):
        assert table.propensity(place, position) == pytest.approx(found[place, position])


def test_an_answer_carries_its_probabilities_and_its_pool(ranked: MakeRanked):
    """What is drawn changes places with what it displaces, and each item shown has its probability."""
    policy = Policy(limit=2)
    shown = explore(_selection(ranked, 6, policy), policy, 0.5, 4, _PlannedDraws([True, False], [3]))
    assert [item.candidate.item_id for item in shown.items] == ["i3", "i1"]
    assert list(shown.pool) == ["i0", "i1", "i2", "i3"]
    table = PropensityTable(4, 2, 0.5)
    assert list(shown.propensities) == [table.propensity(3, 0), table.propensity(1, 1)]


def test_items_of_slots_are_not_drawn(ranked: MakeRanked):
    """Whatever is drawn, the others are shown at each place as often as their probabilities say."""
    policy = Policy(limit=3)
    selection = _selection(ranked, 5, policy)
    found: dict[tuple[str, int], float] = defaultdict(float)
    said: dict[tuple[str, int], float] = {}
    for chances in product([True, False], repeat=2):
        for drawn in product(range(4), range(1, 4)):
            draws = _PlannedDraws(chances, [each for each, chance in zip(drawn, chances, strict=True) if chance])
            shown = explore(selection, policy, 0.3, 10, draws, {"i1"})
            others = [item.candidate.item_id for item in shown.items if item.candidate.item_id != "i1"]
            for place, (item_id, propensity) in enumerate(zip(others, shown.propensities, strict=False)):
                found[item_id, place] += (0.3 if chances[0] else 0.7) / 4 * (0.3 if chances[1] else 0.7) / 3
                said[item_id, place] = propensity
            assert (list(shown.pool), shown.propensities[-1]) == (["i0", "i2", "i3", "i4"], 1.0)
    assert said == pytest.approx(found)
    alone = explore(_selection(ranked, 1, policy), policy, 1.0, 10, _PlannedDraws([], []), {"i0"})
    assert (len(alone.items), alone.propensities) == (1, ())


@pytest.mark.parametrize("rule", [{"max_per_brand": 1}, {"max_per_category": 2}, {"min_long_tail_share": 0.1}])
def test_rules_of_the_whole_answer_keep_its_items(ranked: MakeRanked, rule: dict[str, int]):
    """Under caps or a minimum share of the long tail, the chosen items only change places."""
    policy = Policy(limit=2, **rule)  # type: ignore[arg-type]  # one rule at a time
    selection = _selection(ranked, 6, policy)
    shown = explore(selection, policy, 1.0, 6, _PlannedDraws([True, True], [1, 1]))
    assert sorted(shown.pool) == sorted(item.candidate.item_id for item in selection.items)
    assert [item.candidate.item_id for item in shown.items] == list(reversed(shown.pool))


def test_blocked_and_unlikely_items_are_never_drawn(ranked: MakeRanked):
    """The pool has what the policy allows, and nothing else."""
    policy = Policy(limit=1, min_probability=0.97, blocked=frozenset({"i2"}))
    shown = Explorer(1.0, 10).explore(_selection(ranked, 6, policy), policy, None)
    assert list(shown.pool) == ["i0", "i1", "i3"]


def test_without_a_share_nothing_is_drawn(ranked: MakeRanked):
    """The policy's items are shown without probabilities; a request's own share replaces the server's."""
    policy = Policy(limit=2)
    selection = _selection(ranked, 6, policy)
    for explorer, share in ((Explorer(0.0, 4), None), (Explorer(1.0, 4), 0.0)):
        shown = explorer.explore(selection, policy, share)
        assert (shown.items, shown.propensities) == (selection.items, ())
    assert Explorer(0.0, 4).explore(selection, policy, 1.0).propensities
