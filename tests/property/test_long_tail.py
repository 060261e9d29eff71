"""Properties of the minimum long-tail share, checked against every possible choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.policy.policy import Policy, apply_policy

_KINDS = ("", "a", "b", "c")

# Multiples of 1/16, so that sums are exact and many choices cost the same.
_PROBABILITY = st.integers(0, 16).map(lambda parts: parts / 16)


@st.composite
def _items(draw: st.DrawFn) -> list[RankedCandidate]:
    probabilities = sorted(draw(st.lists(_PROBABILITY, max_size=9)), reverse=True)
    kind = st.sampled_from(_KINDS)
    return [
        RankedCandidate(
            Candidate(f"i{at}", 1.0, brand=draw(kind), category=draw(kind), long_tail=draw(st.booleans())),
            at + 1,
            value,
        )
        for at, value in enumerate(probabilities)
    ]


_CAP = st.none() | st.integers(1, 3)
_SHARE = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0])

_POLICIES = st.builds(
    Policy,
    limit=st.integers(1, 6),
    min_probability=st.sampled_from([0.0, 0.25]),
    blocked=st.frozensets(st.sampled_from(["i0", "i3", "i5"]), max_size=2),
    max_per_brand=_CAP,
    max_per_category=_CAP,
    min_long_tail_share=_SHARE,
)


def _long_tail_items(items: Sequence[RankedCandidate]) -> int:
    return sum(item.candidate.long_tail for item in items)


def _total(items: Sequence[RankedCandidate]) -> float:
    return sum(item.probability or 0.0 for item in items)


def _keeps_caps(items: Sequence[RankedCandidate], policy: Policy) -> bool:
    for name, cap in (("brand", policy.max_per_brand), ("category", policy.max_per_category)):
        counts = Counter(getattr(item.candidate, name) for item in items)
        del counts[""]
        if cap is not None and max(counts.values(), default=0) > cap:
            return False
    return True


def _possible(items: Sequence[RankedCandidate], policy: Policy, size: int) -> Iterator[Sequence[RankedCandidate]]:
    """Yield every choice of ``size`` items that threshold, blocked items and caps allow."""
    allowed = [
        item
        for item in items
        if (item.probability or 0.0) >= policy.min_probability and item.candidate.item_id not in policy.blocked
    ]
    return (choice for choice in combinations(allowed, size) if _keeps_caps(choice, policy))


@given(_items(), _POLICIES)
def test_with_one_kind_of_cap_no_choice_is_cheaper(items: list[RankedCandidate], policy: Policy):
    """The share is reached as far as possible, and no choice with as many long-tail items is more probable."""
    policy = replace(policy, max_per_category=None)
    chosen = apply_policy(items, policy).items
    places = math.ceil(round((policy.min_long_tail_share or 0.0) * len(chosen), 6))
    choices = list(_possible(items, policy, len(chosen)))
    reached = min(places, max(map(_long_tail_items, choices)))
    assert _long_tail_items(chosen) >= reached
    assert _total(chosen) == max(_total(choice) for choice in choices if _long_tail_items(choice) >= reached)


@given(_items(), _POLICIES)
def test_every_other_rule_holds(items: list[RankedCandidate], policy: Policy):
    """The minimum share keeps the number of items, their order, all caps, and every long-tail item."""
    chosen = apply_policy(items, policy).items
    plain = apply_policy(items, replace(policy, min_long_tail_share=None)).items
    assert tuple(chosen) in set(_possible(items, policy, len(plain)))
    assert _long_tail_items(chosen) >= _long_tail_items(plain)
    assert [item.first_stage_rank for item in chosen] == sorted(item.first_stage_rank for item in chosen)


@given(_items(), _POLICIES)
def test_the_substitutions_explain_the_choice(items: list[RankedCandidate], policy: Policy):
    """The substitutions lead to the choice made, each adds a long-tail item, and none is needless."""
    selection = apply_policy(items, policy)
    plain = apply_policy(items, replace(policy, min_long_tail_share=None)).items
    ids = {item.candidate.item_id for item in plain}
    for each in selection.substitutions:
        assert each.substitute.candidate.long_tail
        assert not each.replaced.candidate.long_tail
        ids = ids - {each.replaced.candidate.item_id} | {each.substitute.candidate.item_id}
    assert ids == {item.candidate.item_id for item in selection.items}
    assert _total(plain) - _total(selection.items) == sum(each.cost for each in selection.substitutions)
    wanted = (policy.min_long_tail_share or 0.0) * len(plain)
    assert not selection.substitutions or _long_tail_items(selection.items) - 1 < wanted


@given(_items(), _POLICIES)
def test_without_probabilities_the_order_decides(items: list[RankedCandidate], policy: Policy):
    """Without probabilities and caps, the first long-tail items replace the last other ones."""
    silent = [item._replace(probability=None) for item in items]
    policy = replace(policy, max_per_brand=None, max_per_category=None)
    swaps = apply_policy(silent, policy).substitutions
    plain = apply_policy(silent, replace(policy, min_long_tail_share=None)).items
    others = [item for item in plain if not item.candidate.long_tail]
    waiting = [
        item
        for item in silent
        if item.candidate.long_tail and item not in plain and item.candidate.item_id not in policy.blocked
    ]
    assert [each.replaced for each in swaps] == others[::-1][: len(swaps)]
    assert [each.substitute for each in swaps] == waiting[: len(swaps)]
    assert {each.cost for each in swaps} <= {0.0}
