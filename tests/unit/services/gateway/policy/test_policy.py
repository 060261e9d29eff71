"""The policy on small examples; tests/property/test_policy.py checks it on random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from services.gateway.candidates import RankedCandidate
from services.gateway.policy.policy import Policy, Selection, apply_policy

MakeRanked = Callable[..., RankedCandidate]


@pytest.fixture
def items(ranked: MakeRanked) -> Sequence[RankedCandidate]:
    """Return five items by falling probability; the last two are of the long tail."""
    brands = ("x", "x", "y", "y", "")
    return [
        ranked(f"i{position}", 0.9 - position / 10, brand=brand, long_tail=position > 2)
        for position, brand in enumerate(brands)
    ]


def _ids(selection: Selection) -> list[str]:
    return [item.candidate.item_id for item in selection.items]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(limit=2), ["i0", "i1"]),
        (Policy(min_probability=0.75), ["i0", "i1"]),
        (Policy(blocked=frozenset({"i0", "i3"})), ["i1", "i2", "i4"]),
        (Policy(max_per_brand=1), ["i0", "i2", "i4"]),
        (Policy(limit=2, min_long_tail_share=0.5), ["i0", "i3"]),
        (Policy(limit=3, min_long_tail_share=1.0), ["i0", "i3", "i4"]),
    ],
)
def test_each_rule_is_applied(items: Sequence[RankedCandidate], policy: Policy, expected: list[str]):
    """Limit, threshold, blocked items, caps and the minimum share of the long tail are applied."""
    assert _ids(apply_policy(items, policy)) == expected


def test_items_below_the_threshold_are_counted(items: Sequence[RankedCandidate]):
    """The count includes blocked items below the threshold."""
    assert apply_policy(items, Policy(min_probability=0.75, blocked=frozenset({"i4"}))).below_threshold == 3


def test_an_item_without_a_probability_passes_the_threshold(ranked: MakeRanked):
    """The threshold applies to known probabilities only."""
    assert _ids(apply_policy([ranked("i")], Policy(min_probability=1.0))) == ["i"]


def test_a_share_is_rounded_up_exactly(ranked: MakeRanked):
    """A tenth of thirty items is three, although the product is slightly above three in floating point."""
    items = [ranked(f"i{position}", 0.5, long_tail=position >= 30) for position in range(40)]
    assert len(apply_policy(items, Policy(limit=30, min_long_tail_share=0.1)).substitutions) == 3


def test_items_with_the_same_text_have_one_place(ranked: MakeRanked):
    """The best that no rule leaves out has it; the others are counted; unknown texts are no copies of each other."""
    texts = {"a": 1, "b": 2, "c": 1, "d": 0, "e": 0, "f": 2, "g": 3}
    items = [ranked(name, 0.9 - at / 10, text_hash=text) for at, (name, text) in enumerate(texts.items())]
    selection = apply_policy(items, Policy(limit=4))
    assert (_ids(selection), selection.duplicates) == (["a", "b", "d", "e"], 2)
    blocked = apply_policy(items, Policy(blocked=frozenset("a")))
    assert (_ids(blocked), blocked.duplicates) == (["b", "c", "d", "e", "g"], 1)
    kept = apply_policy(items, Policy(keep_duplicates=True))
    assert (_ids(kept), kept.duplicates) == (list(texts), 0)
