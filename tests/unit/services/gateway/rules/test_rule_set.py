"""Which rules select an item."""

from __future__ import annotations

import pytest

from common.filters import Match, Range
from services.gateway.candidates import Candidate
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.rules.rule_set import RuleSet


def _block(**items: object) -> Rule:
    return Rule("r", RuleKind.BLOCK, ItemSelection(**items))  # type: ignore[arg-type]  # items of any type


@pytest.mark.parametrize(
    ("rule", "candidate", "is_selected"),
    [
        (_block(item_ids=("a",)), Candidate("a", 1.0), True),
        (_block(item_ids=("A",)), Candidate("a", 1.0), False),
        (_block(brands=("ACME ",)), Candidate("a", 1.0, brand="\uff21cme"), True),
        (_block(categories=("toys",)), Candidate("a", 1.0, category="Toys"), True),
        (_block(categories=("toys",)), Candidate("a", 1.0, category="toy"), False),
        (_block(phrases=("rat poison",)), Candidate("a", 1.0, title="Poison, for RATS & rat"), True),
        (_block(phrases=("rat poison",)), Candidate("a", 1.0, title="Rat trap"), False),
        (_block(phrases=("poison",)), Candidate("a", 1.0, title="poi\u200bson"), True),
        (_block(phrases=("poison",)), Candidate("a", 1.0, title="poisonous"), False),
        (_block(phrases=("\u725b\u5976",)), Candidate("a", 1.0, title="\u7eaf\u725b\u5976500ml"), True),
        (_block(phrases=("\u725b\u5976",)), Candidate("a", 1.0, title="\u725b\u8089"), False),
        (_block(phrases=("acme",)), Candidate("a", 1.0, brand="Acme"), True),
    ],
)
def test_an_item_is_selected_by_any_of_its_attributes(rule: Rule, candidate: Candidate, is_selected: bool):
    """Ids are compared as they are; brands, categories and words in normal form."""
    active = RuleSet(1, [rule]).active("", "", 0)
    assert ("r" in active.select(candidate).rule_ids) is is_selected


def test_filters_are_those_that_retrieval_decided():
    """Equal filters are sent once; a rule whose filter cannot be evaluated is left out and named."""
    margin, price = Range("margin", 0.1), Match("color", ("red",))
    rules = RuleSet(
        1,
        [
            Rule("a", RuleKind.REQUIRE, ItemSelection(where=margin)),
            Rule("b", RuleKind.BLOCK, ItemSelection(where=price)),
            Rule("c", RuleKind.BLOCK, ItemSelection(where=margin)),
        ],
    ).active("", "", 0)
    assert list(rules.conditions) == [margin, price]
    selected = rules.select(Candidate("i", 1.0, holds=frozenset({0}), undecided=frozenset({1})))
    assert (set(selected.rule_ids), set(selected.undecided)) == ({"a", "c"}, {"b"})
    kept, said = rules.without({0: "no attribute 'margin'"})
    assert [rule.rule_id for rule in kept.of_kind(RuleKind.BLOCK, RuleKind.REQUIRE)] == ["b"]
    assert said == [f"rule '{name}' is not applied: no attribute 'margin'" for name in ("a", "c")]
    assert kept.select(Candidate("i", 1.0, holds=frozenset({1}))).rule_ids == {"b"}


def test_only_active_rules_count():
    """Disabled rules select nothing, and their items are not asked for."""
    rules = RuleSet(
        3,
        [
            Rule("p", RuleKind.PIN, ItemSelection(item_ids=("x",)), slot=1),
            Rule("q", RuleKind.PIN, ItemSelection(item_ids=("y",)), slot=2, is_disabled=True),
            Rule("t", RuleKind.THRESHOLD, min_probability=0.2, placements=frozenset({"home"})),
            Rule("u", RuleKind.THRESHOLD, min_probability=0.1),
        ],
    )
    home, cart = rules.active("", "home", 0), rules.active("", "cart", 0)
    assert list(home.included) == ["x"]
    assert (home.min_probability, cart.min_probability) == (0.2, 0.1)
    assert not home.select(Candidate("y", 1.0)).rule_ids
