"""Reasons read from the sources' scores."""

from __future__ import annotations

from dataclasses import replace

from services.gateway.candidates import Candidate, Item
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.reasons import ReasonKind, Reasons
from services.gateway.recommendation.request import UserInput

_MILK = Candidate("milk", 1.0, sources=(("follow_recent", 2.0), ("popular", 0.9), ("repeat", 0.1)))


_BREAD = Candidate("bread", 0.9, sources=(("follow_recent", 8.0), ("popular", 1.0), ("semantic", 0.6)))


_CHEESE = Candidate("cheese", 0.8, sources=(("semantic", 0.3), ("similar", 0.4)))


def _kinds(candidate: Candidate, user: UserInput) -> list[ReasonKind]:
    return [reason.kind for reason in Reasons([_MILK, _BREAD, _CHEESE], user).of(candidate)]


def test_the_strongest_source_comes_first():
    """A source's strength is its score as a share of the best it gave in this answer, whatever its scale."""
    assert _kinds(_MILK, UserInput("", [])) == [ReasonKind.POPULAR, ReasonKind.BEHAVIOUR]
    assert _kinds(_CHEESE, UserInput("", [])) == [ReasonKind.SIMILAR, ReasonKind.SEMANTIC]


def test_being_in_the_history_comes_before_all_else():
    """An item of the history says so first, and how often it was there."""
    reasons = Reasons([_MILK], UserInput("", ["milk", "bread", "milk", "milk"])).of(_MILK)
    assert reasons[0].kind is ReasonKind.IN_HISTORY
    assert reasons[0].text == "bought or looked at 3 times before"
    assert [reason.kind for reason in reasons].count(ReasonKind.IN_HISTORY) == 1


def test_once_and_twice_are_words():
    """Small counts read as a user would say them."""
    texts = [Reasons([], UserInput("", ["milk"] * count)).of(_MILK)[0].text for count in (1, 2)]
    assert texts == ["bought or looked at once before", "bought or looked at twice before"]


def test_a_repeat_source_is_no_reason_without_a_history():
    """What a source of repeats says counts as history only where the item is in it."""
    assert ReasonKind.IN_HISTORY not in _kinds(_MILK, UserInput("", []))


def test_the_query_is_named():
    """A semantic reason names the query, or the interests where there is none."""
    with_query = {reason.text for reason in Reasons([_CHEESE], UserInput("soft cheese", [])).of(_CHEESE)}
    without = {reason.text for reason in Reasons([_CHEESE], UserInput("", [])).of(_CHEESE)}
    assert "its text fits the query “soft cheese”" in with_query
    assert "its text fits the interests" in without


def test_keeping_a_place_for_the_tail_comes_before_all_else():
    """An item that came in for the tail's share says so first, and names what gave way."""
    swap = Substitution(Item(_MILK, 3), Item(replace(_BREAD, title="rye bread"), 1))
    reasons = Reasons([_MILK, _BREAD], UserInput("", ["milk"]), [swap])
    assert [reason.kind for reason in reasons.of(_MILK)][:2] == [ReasonKind.LONG_TAIL_SHARE, ReasonKind.IN_HISTORY]
    assert reasons.of(_MILK)[0].text == "it keeps a place for what sells less; “rye bread” gave way"
    assert ReasonKind.LONG_TAIL_SHARE not in [reason.kind for reason in reasons.of(_BREAD)]


def test_scores_that_are_not_positive_have_no_strength():
    """A source whose best score is not above zero is the weakest reason, not an error."""
    item = Candidate("i", 1.0, sources=(("semantic", -0.2), ("similar", 0.1)))
    kinds = [reason.kind for reason in Reasons([item], UserInput("", [])).of(item)]
    assert kinds == [ReasonKind.SIMILAR, ReasonKind.SEMANTIC]
