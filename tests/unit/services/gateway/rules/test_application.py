"""What rules change in an answer."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.rules.application import Effect, apply_rules, place_slots, slotted_items
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.rules.rule_set import ActiveRules, RuleSet


def _items(*probabilities: float | None) -> list[RankedCandidate]:
    return [
        RankedCandidate(Candidate(f"i{at}", 1.0 / (at + 1), brand=f"b{at % 2}"), at + 1, value)
        for at, value in enumerate(probabilities)
    ]


def _active(*rules: Rule) -> ActiveRules:
    return RuleSet(1, rules).active("", "", 0)


def _ids(items: Sequence[RankedCandidate]) -> list[str]:
    return [item.candidate.item_id for item in items]


def _rule(kind: RuleKind, *item_ids: str, **fields: object) -> Rule:
    return Rule(kind.lower(), kind, ItemSelection(item_ids=item_ids), **fields)  # type: ignore[arg-type]


def test_blocked_items_and_those_that_lack_what_is_required_go():
    """Each removal is a step of the rule that removed it."""
    require = Rule("require", RuleKind.REQUIRE, ItemSelection(brands=("b0",)))
    ruled = apply_rules(_items(0.9, 0.8, 0.7, 0.6), _active(_rule(RuleKind.BLOCK, "i0"), require))
    assert _ids(ruled.items) == ["i2"]
    assert [(step.rule.rule_id, step.effect, step.item_id) for step in ruled.steps] == [
        ("block", Effect.REMOVED, "i0"),
        ("require", Effect.REMOVED, "i1"),
        ("require", Effect.REMOVED, "i3"),
    ]


def test_a_boost_multiplies_the_odds_within_bounds():
    """Odds of 1 to 4 times 5 are above even odds; two boosts of 10 do as much as one; probabilities stay."""
    items = _items(0.5, 0.2, 0.05)
    lifted = apply_rules(items, _active(_rule(RuleKind.BOOST, "i1", factor=5.0)))
    assert _ids(lifted.items) == ["i1", "i0", "i2"]
    assert lifted.items[0].probability == 0.2
    assert [(step.effect, step.position) for step in lifted.steps] == [(Effect.LIFTED, 1)]
    both = (
        _rule(RuleKind.BOOST, "i2", factor=10.0),
        Rule("up2", RuleKind.BOOST, ItemSelection(item_ids=("i2",)), factor=10.0),
    )
    assert _ids(apply_rules(items, _active(*both)).items) == ["i0", "i2", "i1"]  # 10/19 and not 100/19
    buried = apply_rules(items, _active(_rule(RuleKind.BOOST, "i0", factor=0.1)))
    assert (_ids(buried.items), buried.steps[0].effect) == (["i1", "i0", "i2"], Effect.BURIED)


def test_without_probabilities_boosts_act_on_the_first_stages_scores():
    """Scores of 1 and a half: a factor of 3 is enough."""
    assert _ids(apply_rules(_items(None, None), _active(_rule(RuleKind.BOOST, "i1", factor=3.0))).items) == ["i1", "i0"]


def test_no_rule_changes_nothing():
    """The same list comes back, without steps."""
    items = _items(0.9, 0.8)
    ruled = apply_rules(items, _active())
    assert (ruled.items, list(ruled.steps)) == (items, [])


def test_slots_move_items_of_the_answer_and_replace_its_last():
    """An item of the answer moves; one beyond it displaces the last; a campaign takes its best item not yet placed."""
    items = _items(0.9, 0.8, 0.7, 0.6, 0.5)
    campaign = Rule("c", RuleKind.CAMPAIGN, ItemSelection(brands=("b0",)), slot=1, starts_at_us=-1, ends_at_us=1)
    rules = _active(_rule(RuleKind.PIN, "i4", slot=3), campaign)
    ruled = apply_rules(items, rules)
    shown, steps = place_slots(items[:3], slotted_items(ruled, rules, 3, frozenset({"i0"})), 3)
    assert _ids(shown) == ["i2", "i0", "i4"]
    assert [(step.rule.rule_id, step.effect, step.item_id, step.position) for step in steps] == [
        ("pin", Effect.DISPLACED, "i1", 0),
        ("c", Effect.PLACED, "i2", 1),
        ("pin", Effect.PLACED, "i4", 3),
    ]


def test_a_slot_beyond_the_end_is_the_end_and_one_beyond_the_limit_is_none():
    """A pin at 3 of a single item is second; a pin at 3 of an answer of 2 is left out."""
    items = _items(0.9, 0.8)
    rules = _active(_rule(RuleKind.PIN, "i1", slot=3))
    ruled = apply_rules(items, rules)
    for limit, expected in ((5, ["i0", "i1"]), (2, ["i0"])):
        slotted = slotted_items(ruled, rules, limit, frozenset())
        assert _ids(place_slots(items[:1], slotted, limit)[0]) == expected


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 9)), max_size=6, unique_by=(lambda t: t[0], lambda t: t[1])),
    st.integers(1, 8),
    st.integers(0, 8),
)
def test_every_slot_within_the_answer_has_its_item(slots: list[tuple[int, int]], limit: int, count: int):
    """Placed items are where their rules say, no item comes twice, and the others keep their order."""
    items = _items(*(0.9 - at / 20 for at in range(10)))
    pins = [Rule(f"p{slot}", RuleKind.PIN, ItemSelection(item_ids=(f"i{item}",)), slot=slot) for slot, item in slots]
    rules = _active(*pins)
    slotted = slotted_items(apply_rules(items, rules), rules, limit, frozenset())
    shown, steps = place_slots(items[: min(count, limit)], slotted, limit)
    ids = _ids(shown)
    assert len(ids) == len(set(ids)) <= limit
    for slot, item in slots:
        if slot <= limit == len(ids):
            assert ids[slot - 1] == f"i{item}"
    placed = {step.item_id for step in steps if step.effect is Effect.PLACED}
    others = [item_id for item_id in ids if item_id not in placed]
    assert others == sorted(others)
    displaced = {step.item_id for step in steps if step.effect is Effect.DISPLACED}
    assert {f"i{at}" for at in range(min(count, limit))} - displaced <= set(ids)
