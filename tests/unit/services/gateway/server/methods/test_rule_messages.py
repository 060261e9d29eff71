"""Rules as messages and as stored bytes."""

from __future__ import annotations

import pytest

from common.filters import Match
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.server.methods.rule_messages import decode_rules, encode_rules, read_rules, write_rule

_RULES = [
    Rule(
        "a",
        RuleKind.CAMPAIGN,
        ItemSelection(("i",), ("b",), ("c",), ("w w",), Match("brand", ("x",))),
        "a note",
        is_disabled=True,
        countries=frozenset({"DE"}),
        placements=frozenset({"home"}),
        starts_at_us=-1_500_000,
        ends_at_us=2_000_001,
        slot=3,
        version=7,
    ),
    Rule("b", RuleKind.BOOST, ItemSelection(("i",)), factor=0.5),
    Rule("c", RuleKind.THRESHOLD, min_probability=0.25),
]


def test_rules_come_back_as_they_were():
    """Every field survives the message and the store."""
    assert read_rules([write_rule(rule) for rule in _RULES]) == _RULES
    assert list(decode_rules(encode_rules(_RULES))) == _RULES
    assert list(decode_rules(b"")) == []


def test_bytes_that_are_no_rules_are_refused():
    """What a later version or another program wrote is not half read."""
    with pytest.raises(ValueError, match="the stored rules cannot be read"):
        decode_rules(b"\xff\xff")
