"""Properties of the policy, over any items and any policy."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.policy.policy import Policy, apply_policy

_BRANDS = ("", "acme", "zenith")


@st.composite
def _items(draw: st.DrawFn) -> list[RankedCandidate]:
    ids = draw(st.lists(st.integers(0, 40), unique=True, max_size=30))
    return [
        RankedCandidate(
            Candidate(
                str(name),
                1.0,
                brand=draw(st.sampled_from(_BRANDS)),
                category=draw(st.sampled_from(_BRANDS)),
                long_tail=draw(st.booleans()),
            ),
            rank,
            draw(st.none() | st.floats(0, 1)),
        )
        for rank, name in enumerate(ids, start=1)
    ]


_CAP = st.none() | st.integers(1, 4)

_POLICIES = st.builds(
    Policy,
    limit=st.integers(1, 20),
    min_probability=st.floats(0, 1),
    blocked=st.frozensets(st.integers(0, 40).map(str), max_size=10),
    max_per_brand=_CAP,
    max_per_category=_CAP,
    min_long_tail_share=st.none() | st.floats(0, 1),
)


def _allowed_alone(item: RankedCandidate, policy: Policy) -> bool:
    likely = item.probability is None or item.probability >= policy.min_probability
    return likely and item.candidate.item_id not in policy.blocked


@given(_items(), _POLICIES)
def test_no_item_is_chosen_that_the_policy_forbids(items: list[RankedCandidate], policy: Policy):
    """No answer is longer than the limit, or holds a blocked item or one below the threshold."""
    chosen = apply_policy(items, policy).items
    assert len(chosen) <= policy.limit
    assert all(_allowed_alone(item, policy) for item in chosen)


@given(_items(), _POLICIES)
@pytest.mark.parametrize("attribute", ["brand", "category"])
def test_caps_hold(attribute: str, items: list[RankedCandidate], policy: Policy):
    """No brand and no category comes more often than its cap; items without one do not count."""
    counts = Counter(getattr(item.candidate, attribute) for item in apply_policy(items, policy).items)
    counts.pop("", None)
    cap = getattr(policy, f"max_per_{attribute}")
    assert cap is None or all(count <= cap for count in counts.values())


@given(_items(), _POLICIES)
def test_the_order_is_kept(items: list[RankedCandidate], policy: Policy):
    """The chosen items keep their order."""
    ranks = [item.first_stage_rank for item in apply_policy(items, policy).items]
    assert ranks == sorted(ranks)


@given(_items(), _POLICIES)
def test_choosing_twice_changes_nothing(items: list[RankedCandidate], policy: Policy):
    """Applying the policy to its own result changes nothing."""
    chosen = apply_policy(items, policy).items
    assert apply_policy(chosen, policy).items == chosen


@given(_items(), _POLICIES)
def test_an_item_is_left_out_for_a_reason_only(items: list[RankedCandidate], policy: Policy):
    """Every item left out is forbidden, is beyond the limit, breaks a cap, or was replaced by a long-tail item."""
    selection = apply_policy(items, policy)
    moved = [each.substitute for each in selection.substitutions]
    chosen = [item for item in items if item in selection.items and item not in moved]
    chosen += [each.replaced for each in selection.substitutions]
    for item in items:
        if item in chosen or not _allowed_alone(item, policy):
            continue
        before = [other for other in chosen if other.first_stage_rank < item.first_stage_rank]
        assert len(before) == policy.limit or _breaks_a_cap(item, before, policy)


@given(_items(), _POLICIES)
def test_the_threshold_is_counted(items: list[RankedCandidate], policy: Policy):
    """The count includes every item with a probability below the threshold, also blocked ones."""
    below = [item for item in items if item.probability is not None and item.probability < policy.min_probability]
    assert apply_policy(items, policy).below_threshold == len(below)


def _breaks_a_cap(item: RankedCandidate, before: list[RankedCandidate], policy: Policy) -> bool:
    brands = sum(other.candidate.brand == item.candidate.brand for other in before)
    categories = sum(other.candidate.category == item.candidate.category for other in before)
    full_brand = bool(item.candidate.brand) and policy.max_per_brand is not None and brands >= policy.max_per_brand
    full_category = (
        bool(item.candidate.category) and policy.max_per_category is not None and categories >= policy.max_per_category
    )
    return full_brand or full_category
