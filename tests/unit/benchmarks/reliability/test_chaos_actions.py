"""The order of faults."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.reliability.chaos_actions import actions, schedule

_RELEASES = [Path("one"), Path("two")]


def test_a_seed_reproduces_the_order():
    """The same seed gives the same faults in the same order, another one another order."""
    orders = [[action.name for action in schedule(random.Random(seed), _RELEASES)] for seed in ("a", "a", "b")]
    assert orders[0] == orders[1] != orders[2]


def test_every_fault_occurs_once():
    """A round has every fault, under a name of its own."""
    names = [action.name for action in actions(_RELEASES)]
    assert len(names) == len(set(names))
    assert sorted(action.name for action in schedule(random.Random(1), _RELEASES)) == sorted(names)
