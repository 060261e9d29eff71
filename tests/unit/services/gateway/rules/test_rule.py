"""Which requests a rule is for."""

from __future__ import annotations

import pytest

from services.gateway.rules.rule import Rule, RuleKind


def _rule(**fields: object) -> Rule:
    return Rule("r", RuleKind.BLOCK, **fields)  # type: ignore[arg-type]  # fields of any type


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (_rule(), True),
        (_rule(is_disabled=True), False),
        (_rule(countries=frozenset({"DE", "FR"})), True),
        (_rule(countries=frozenset({"FR"})), False),
        (_rule(placements=frozenset({"cart"})), False),
        (_rule(starts_at_us=10, ends_at_us=11), True),
        (_rule(starts_at_us=11), False),
        (_rule(ends_at_us=10), False),
    ],
)
def test_scope_and_time_decide(rule: Rule, holds: bool):
    """A rule holds in its countries and placements, from its start to before its end."""
    assert rule.holds_for("DE", "home", 10) is holds


def test_a_request_without_a_country_is_in_none_that_is_listed():
    """A rule for a country does not hold where the country is unknown."""
    assert not _rule(countries=frozenset({"DE"})).holds_for("", "", 0)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (_rule(), _rule(), True),
        (_rule(countries=frozenset({"DE"})), _rule(), True),
        (_rule(countries=frozenset({"DE"})), _rule(countries=frozenset({"FR"})), False),
        (_rule(placements=frozenset({"a"})), _rule(placements=frozenset({"a", "b"})), True),
        (_rule(starts_at_us=5), _rule(ends_at_us=5), False),
        (_rule(starts_at_us=5), _rule(ends_at_us=6), True),
        (_rule(is_disabled=True), _rule(), False),
    ],
)
def test_rules_overlap_if_a_request_has_both(one: Rule, other: Rule, overlap: bool):
    """Scopes that have nothing in common, or times one after the other, do not overlap."""
    assert one.overlaps(other) is other.overlaps(one) is overlap
