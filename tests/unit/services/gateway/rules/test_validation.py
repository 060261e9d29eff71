"""Rules that are refused, with what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import InvalidRequest
from common.filters import Match
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.rules.validation import check_rules

_ITEM = ItemSelection(item_ids=("a",))
_BLOCK = Rule("b", RuleKind.BLOCK, _ITEM)
_PIN = Rule("p", RuleKind.PIN, _ITEM, slot=1)
_BOOST = Rule("up", RuleKind.BOOST, _ITEM, factor=2.0)
_THRESHOLD = Rule("t", RuleKind.THRESHOLD, min_probability=0.1)
_CAMPAIGN = Rule("c", RuleKind.CAMPAIGN, ItemSelection(brands=("x",)), slot=2, starts_at_us=0, ends_at_us=9)


def test_valid_rules_pass():
    """Each kind of rule in its valid form."""
    require = Rule("r", RuleKind.REQUIRE, ItemSelection(where=Match("margin", ("high",))))
    check_rules([_PIN, _BOOST, _THRESHOLD, _CAMPAIGN, require, Rule("again", RuleKind.REPURCHASE, _ITEM)])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([replace(_BLOCK, rule_id="a b")], r"^rule_id: 'a b'; give 1 to 64 letters"),
        ([replace(_BLOCK, note="x" * 501)], r"^rule 'b': note: 501 characters"),
        ([replace(_BLOCK, starts_at_us=5, ends_at_us=5)], "ends_at: is not after starts_at"),
        ([replace(_BLOCK, countries=frozenset({"de"}))], "countries: 'de' is not a code of two capital letters"),
        ([replace(_BLOCK, items=ItemSelection())], "items: a rule of kind BLOCK needs some"),
        ([replace(_THRESHOLD, items=_ITEM)], "items: a threshold takes none"),
        ([replace(_BLOCK, items=ItemSelection(phrases=("!?",)))], "items.words: '!\\?' has no letter"),
        ([replace(_PIN, slot=0)], "slot: is 0; pins and campaigns have one, 1 to 500"),
        ([replace(_BLOCK, slot=1)], "slot: is 1"),
        ([replace(_PIN, slot=501)], "slot: is 501"),
        ([replace(_PIN, items=ItemSelection(item_ids=("a", "b")))], "a pin has exactly one of item_ids"),
        ([replace(_CAMPAIGN, ends_at_us=None)], "starts_at, ends_at: a campaign has both"),
        ([replace(_BOOST, factor=10.5)], "factor: is 10.5; a boost has 0.1 to 10 and not 1"),
        ([replace(_BOOST, factor=1.0)], "factor: is 1;"),
        ([replace(_BOOST, factor=float("nan"))], "factor: is nan"),
        ([replace(_BLOCK, factor=2.0)], "factor: is 2;"),
        ([replace(_THRESHOLD, min_probability=0.0)], "min_probability: is 0;"),
        ([replace(_THRESHOLD, min_probability=1.5)], "min_probability: is 1.5;"),
        ([_PIN, replace(_CAMPAIGN, slot=1)], "rule 'p': slot: 1 is also that of 'c', for the same requests"),
        ([_PIN, replace(_PIN, rule_id="p2", slot=2)], "'a' is pinned by 'p2' too"),
        ([_PIN, _BLOCK], "rule 'p': items: 'a' is blocked by 'b', for the same requests"),
        ([replace(_BLOCK, rule_id=f"b{at}") for at in range(501)], "501 rules; at most 500"),
    ],
)
def test_a_bad_rule_is_named(rules: list[Rule], message: str):
    """The message has the rule, the field and the remedy."""
    with pytest.raises(InvalidRequest, match=message):
        check_rules(rules)


def test_rules_for_different_requests_do_not_conflict():
    """The same slot, and a pin of a blocked item, are allowed in different countries or times."""
    france, germany = frozenset({"FR"}), frozenset({"DE"})
    check_rules([replace(_PIN, countries=france), replace(_BLOCK, countries=germany)])
    check_rules([replace(_PIN, countries=france), replace(_CAMPAIGN, slot=1, countries=germany)])
    check_rules([replace(_PIN, starts_at_us=9), replace(_CAMPAIGN, slot=1)])
