"""Caps per brand and category."""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import Caps

MakeRanked = Callable[..., RankedCandidate]


def test_the_key_has_only_what_is_capped(ranked: MakeRanked):
    """An uncapped or unknown brand or category is empty in the key."""
    item = ranked("i", brand="acme", category="dairy")
    assert Caps(1, 1).key(item) == ("acme", "dairy")
    assert Caps(1, None).key(item) == ("acme", "")
    assert Caps(None, None).key(item) == ("", "")
    assert Caps(1, 1).key(ranked("j")) == ("", "")


def test_there_is_room_until_a_cap_is_reached():
    """A cap is reached by as many items of its brand or category, and has room again after one is removed."""
    caps = Caps(2, None)
    caps.add(("acme", ""), 1)
    assert caps.has_room(("acme", ""))
    caps.add(("acme", ""), 1)
    assert not caps.has_room(("acme", ""))
    assert caps.has_room(("zenith", ""))
    caps.add(("acme", ""), -1)
    assert caps.has_room(("acme", ""))


def test_the_reached_caps_are_named():
    """Of a key with a full brand and a free category, only the brand is reached."""
    caps = Caps(1, 2)
    caps.add(("acme", "dairy"), 1)
    assert caps.reached(("acme", "dairy")) == ("acme", "")
    caps.add(("zenith", "dairy"), 1)
    assert caps.reached(("acme", "dairy")) == ("acme", "dairy")
    assert caps.reached(("other", "bread")) == ("", "")


def test_unknown_brands_never_reach_a_cap():
    """Items without a capped brand are counted against no cap."""
    caps = Caps(None, 1)
    caps.add(("", ""), 5)
    assert caps.has_room(("", "dairy"))
