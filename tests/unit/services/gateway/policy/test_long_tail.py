"""Substitutions for the minimum share of the long tail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import Caps
from services.gateway.policy.long_tail import Substitution, SubstitutionFinder

MakeRanked = Callable[..., RankedCandidate]


def _ids(substitutions: Sequence[Substitution]) -> list[tuple[str, str]]:
    return [(each.substitute.candidate.item_id, each.replaced.candidate.item_id) for each in substitutions]


def test_the_best_long_tail_item_replaces_the_worst_other(ranked: MakeRanked):
    """Each substitution is the cheapest: the most probable long-tail item for the least probable other one."""
    items = [
        ranked("a", 0.9),
        ranked("b", 0.8),
        ranked("c", 0.7, long_tail=True),
        ranked("d", 0.6),
        ranked("e", 0.5, long_tail=True),
    ]
    chosen = [items[0], items[1], items[3]]
    finder = SubstitutionFinder(items, chosen, Caps(None, None))
    substitutions = finder.cheapest(2)
    assert _ids(substitutions) == [("c", "d"), ("e", "b")]
    assert [each.cost for each in substitutions] == pytest.approx([-0.1, 0.3])


def test_a_full_brand_gives_up_its_own_item(ranked: MakeRanked):
    """A substitute of a capped brand can only replace an item of the same brand."""
    items = [ranked("a", 0.9, brand="x"), ranked("b", 0.5), ranked("c", 0.4, brand="x", long_tail=True)]
    caps = Caps(1, None)
    for item in items[:2]:
        caps.add(caps.key(item), 1)
    assert _ids(SubstitutionFinder(items, items[:2], caps).cheapest(1)) == [("c", "a")]


def test_fewer_are_returned_if_no_more_are_allowed(ranked: MakeRanked):
    """There are at most as many substitutions as long-tail items that may be chosen."""
    items = [ranked("a", 0.9), ranked("b", 0.8), ranked("c", 0.1, long_tail=True)]
    assert _ids(SubstitutionFinder(items, items[:2], Caps(None, None)).cheapest(5)) == [("c", "b")]


def test_without_probabilities_a_substitution_costs_nothing(ranked: MakeRanked):
    """Items without a probability are compared by their order alone."""
    items = [ranked("a"), ranked("b"), ranked("c", long_tail=True), ranked("d", long_tail=True)]
    substitutions = SubstitutionFinder(items, items[:2], Caps(None, None)).cheapest(1)
    assert _ids(substitutions) == [("c", "b")]
    assert substitutions[0].cost == 0
