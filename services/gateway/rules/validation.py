"""Checks of rules when they are written: each alone, and each against the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

from common.errors import InvalidRequest
from common.text import query_words
from services.gateway.rules.rule import MAX_FACTOR, MAX_SLOT, MIN_FACTOR, Rule, RuleKind

MAX_RULES: Final = 500
MAX_VALUES: Final = 20_000
MAX_FILTERS: Final = 50
MAX_INCLUDED: Final = 100
_MAX_NOTE: Final = 500
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SLOTTED: Final = (RuleKind.PIN, RuleKind.CAMPAIGN)


def check_rules(rules: Sequence[Rule]) -> None:
    """Check all rules of a shop together.

    Raises:
        InvalidRequest: A rule is invalid, contradicts another one, or there are too many; the message names the rule.
    """
    for rule in rules:
        _check(rule)
    if len(rules) > MAX_RULES:
        raise InvalidRequest(f"rules: {len(rules)} rules; at most {MAX_RULES}; join rules of one kind and scope")
    _at_most("values of all rules", sum(_values(rule) for rule in rules), MAX_VALUES)
    _at_most("rules with items.where", sum(rule.items.where is not None for rule in rules), MAX_FILTERS)
    _at_most(
        "items of pins and campaigns", len({i for rule in _slotted(rules) for i in rule.items.item_ids}), MAX_INCLUDED
    )
    for one, other in combinations(_slotted(rules), 2):
        _check_slots(one, other)
    _check_pins_of_blocked_items(rules)


def _check(rule: Rule) -> None:
    if not _ID.fullmatch(rule.rule_id):
        raise InvalidRequest(f"rule_id: {rule.rule_id[:80]!r}; give 1 to 64 letters, digits, '.', '_' and '-'")
    if len(rule.note) > _MAX_NOTE:
        raise _fault(rule, f"note: {len(rule.note)} characters; at most {_MAX_NOTE}")
    if rule.starts_at_us is not None and rule.ends_at_us is not None and rule.starts_at_us >= rule.ends_at_us:
        raise _fault(rule, "ends_at: is not after starts_at, so the rule would never be applied")
    for country in rule.countries:
        if not re.fullmatch("[A-Z]{2}", country):
            raise _fault(rule, f"countries: {country!r} is not a code of two capital letters, such as DE")
    if bool(rule.items) == (rule.kind is RuleKind.THRESHOLD):
        wanted = "a threshold takes none" if rule.items else f"a rule of kind {rule.kind} needs some"
        raise _fault(rule, f"items: {wanted}")
    for phrase in rule.items.phrases:
        if not query_words(phrase):
            raise _fault(rule, f"items.words: {phrase!r} has no letter and no digit")
    _check_numbers(rule)


def _check_numbers(rule: Rule) -> None:
    """Check the numbers of a rule's kind, and that it has no number of another kind."""
    if (rule.kind in _SLOTTED) != bool(rule.slot) or rule.slot > MAX_SLOT:
        raise _fault(rule, f"slot: is {rule.slot}; pins and campaigns have one, 1 to {MAX_SLOT}, other rules none")
    if rule.kind is RuleKind.PIN and (len(rule.items.item_ids) != 1 or _values(rule) != 1 or rule.items.where):
        raise _fault(rule, "items: a pin has exactly one of item_ids and nothing else; use a campaign for more")
    if rule.kind is RuleKind.CAMPAIGN and (rule.starts_at_us is None or rule.ends_at_us is None):
        raise _fault(rule, "starts_at, ends_at: a campaign has both")
    is_factor = MIN_FACTOR <= rule.factor <= MAX_FACTOR and rule.factor != 1.0
    if not (is_factor if rule.kind is RuleKind.BOOST else rule.factor == 0.0):
        raise _fault(
            rule, f"factor: is {rule.factor:g}; a boost has {MIN_FACTOR:g} to {MAX_FACTOR:g} and not 1, others none"
        )
    is_threshold = 0.0 < rule.min_probability <= 1.0
    if not (is_threshold if rule.kind is RuleKind.THRESHOLD else rule.min_probability == 0.0):
        raise _fault(rule, f"min_probability: is {rule.min_probability:g}; a threshold has above 0 to 1, others none")


def _check_slots(one: Rule, other: Rule) -> None:
    if one.slot == other.slot and one.overlaps(other):
        raise _fault(
            one,
            f"slot: {one.slot} is also that of {other.rule_id!r}, for the same requests; change slot, scope or time",
        )
    if one.kind is other.kind is RuleKind.PIN and one.items.item_ids == other.items.item_ids and one.overlaps(other):
        raise _fault(one, f"items: {one.items.item_ids[0]!r} is pinned by {other.rule_id!r} too, for the same requests")


def _check_pins_of_blocked_items(rules: Sequence[Rule]) -> None:
    pins = [rule for rule in rules if rule.kind is RuleKind.PIN]
    blocks = [rule for rule in rules if rule.kind is RuleKind.BLOCK]
    for pin in pins:
        for block in blocks:
            if pin.items.item_ids[0] in block.items.item_ids and pin.overlaps(block):
                raise _fault(
                    pin, f"items: {pin.items.item_ids[0]!r} is blocked by {block.rule_id!r}, for the same requests"
                )


def _slotted(rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.kind in _SLOTTED]


def _values(rule: Rule) -> int:
    items = rule.items
    return len(items.item_ids) + len(items.brands) + len(items.categories) + len(items.phrases)


def _at_most(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidRequest(f"rules: {count:,} {what}; at most {limit:,}")


def _fault(rule: Rule, what: str) -> InvalidRequest:
    return InvalidRequest(f"rule {rule.rule_id!r}: {what}")
