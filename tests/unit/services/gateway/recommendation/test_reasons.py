"""Reasons derived from the scores of the sources."""

from __future__ import annotations

import pytest

from common.release.event_weights import EventKind
from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, Evidence, RankedCandidate
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.reason_texts import texts_of
from services.gateway.recommendation.reasons import Explainer, ReasonKind

_MILK = Candidate("milk", 1.0, sources=(("follow_recent", 2.0), ("popular", 0.9), ("repeat", 0.1)))
_BREAD = Candidate("bread", 0.9, sources=(("follow_recent", 8.0), ("popular", 1.0), ("semantic", 0.6)))
_CHEESE = Candidate("cheese", 0.8, sources=(("semantic", 0.3), ("similar", 0.4)))

_EVIDENCE = {
    "follow_recent": Evidence.BEHAVIOUR,
    "popular": Evidence.POPULAR,
    "repeat": Evidence.REPEAT,
    "semantic": Evidence.SEMANTIC,
    "similar": Evidence.SIMILAR,
}


def _kinds(candidate: Candidate, user: UserInput) -> list[ReasonKind]:
    return [reason.kind for reason in Explainer([_MILK, _BREAD, _CHEESE], user, _EVIDENCE).reasons_for(candidate)]


@pytest.mark.parametrize(
    ("evidence", "kind", "text"),
    [
        (Evidence.BEHAVIOUR, ReasonKind.BEHAVIOUR, "users with a similar history chose it next"),
        (Evidence.SIMILAR, ReasonKind.SIMILAR, "similar to an item in the history"),
        (Evidence.SEMANTIC, ReasonKind.SEMANTIC, "matches the query “rye bread”"),
        (Evidence.LEXICAL, ReasonKind.LEXICAL, "has words of the query “rye bread”"),
        (Evidence.POPULAR, ReasonKind.POPULAR, "many users buy it"),
        (Evidence.TRENDING, ReasonKind.TRENDING, "sells well recently"),
        (Evidence.EXPLORATION, ReasonKind.EXPLORATION, "new, or known to few users"),
    ],
)
def test_each_kind_of_source_has_its_own_reason(evidence: Evidence, kind: ReasonKind, text: str):
    """What a source goes by decides the reason, whatever the source is called."""
    item = Candidate("i", 1.0, sources=(("any name", 1.0),))
    (reason,) = Explainer([item], UserInput("rye bread", []), {"any name": evidence}).reasons_for(item)
    assert (reason.kind, reason.text) == (kind, text)


def test_a_source_of_unknown_evidence_gives_no_reason():
    """Nothing is claimed of a source of which it is not known what it goes by."""
    item = Candidate("i", 1.0, sources=(("new", 1.0), ("popular", 0.5)))
    reasons = Explainer([item], UserInput("", []), {"popular": Evidence.POPULAR}).reasons_for(item)
    assert [reason.kind for reason in reasons] == [ReasonKind.POPULAR]


def test_the_reason_says_what_the_user_did():
    """A viewed item is not said to be bought; each kind is named with its count, the strongest first."""
    kinds = [EventKind.VIEW, EventKind.VIEW, EventKind.PURCHASE, EventKind.CART]
    user = UserInput("", ["milk", "milk", "milk", "tea"], kinds)
    reasons = [Explainer([], user, {}).reasons_for(Candidate(item, 1.0))[0].text for item in ("milk", "tea")]
    assert reasons == ["bought once, viewed twice before", "put into the cart once before"]


def test_an_item_that_no_source_found_is_popular():
    """Retrieval fills its answers with popular items, which no source found."""
    (reason,) = Explainer([], UserInput("", []), {}).reasons_for(Candidate("i", -1.0))
    assert reason.kind is ReasonKind.POPULAR


def test_an_item_that_only_a_rule_names_is_placed_by_the_shop():
    """It is not said to be popular, whether it got its slot or not; a source that found it is a further reason."""
    placed = Explainer([_MILK], UserInput("", []), _EVIDENCE, placed=["pin", "milk"], named=["pin", "other", "milk"])
    for item_id in ("pin", "other"):
        (reason,) = placed.reasons_for(Candidate(item_id, -1.0))
        assert (reason.kind, reason.text) == (ReasonKind.PLACED, "placed by the shop")
    assert [reason.kind for reason in placed.reasons_for(_MILK)] == [
        ReasonKind.PLACED,
        ReasonKind.BEHAVIOUR,
        ReasonKind.POPULAR,
    ]


def test_reasons_have_the_language_of_their_texts():
    """Titles and queries stay as they are."""
    substitution = Substitution(RankedCandidate(_MILK, 3), RankedCandidate(_BREAD._replace(title="rye bread"), 1))
    kinds = [EventKind.VIEW, EventKind.VIEW, EventKind.PURCHASE, EventKind.CART]
    user = UserInput("全麦 bread", ["milk", "milk", "milk", "milk"], kinds)
    explainer = Explainer([_MILK, _BREAD], user, _EVIDENCE, [substitution], texts=texts_of("zh-CN"))
    assert [reason.text for reason in explainer.reasons_for(_MILK)[:2]] == [
        "为展示销量较低的商品而选择，替换了“rye bread”",
        "曾购买1次、加入购物车1次、浏览2次",
    ]
    assert "与搜索“全麦 bread”相符" in [reason.text for reason in explainer.reasons_for(_BREAD)]


def test_the_strongest_source_comes_first():
    """A source's strength is its score divided by its largest score in this answer, whatever its scale."""
    assert _kinds(_MILK, UserInput("", [])) == [ReasonKind.POPULAR, ReasonKind.BEHAVIOUR]
    assert _kinds(_CHEESE, UserInput("", [])) == [ReasonKind.SIMILAR, ReasonKind.SEMANTIC]


def test_the_history_comes_before_the_sources():
    """An item of the history has that as its first reason, with how often it occurs there."""
    reasons = Explainer([_MILK], UserInput("", ["milk", "bread", "milk", "milk"]), _EVIDENCE).reasons_for(_MILK)
    assert reasons[0].kind is ReasonKind.IN_HISTORY
    assert reasons[0].text == "bought or viewed 3 times before"
    assert [reason.kind for reason in reasons].count(ReasonKind.IN_HISTORY) == 1


def test_once_and_twice_are_words():
    """Small counts are written as words."""
    texts = [Explainer([], UserInput("", ["milk"] * count), {}).reasons_for(_MILK)[0].text for count in (1, 2)]
    assert texts == ["bought or viewed once before", "bought or viewed twice before"]


def test_a_repeat_source_is_no_reason_without_a_history():
    """A repeat source gives a reason only if the item is in the history."""
    assert ReasonKind.IN_HISTORY not in _kinds(_MILK, UserInput("", []))


def test_the_query_is_named():
    """A semantic reason names the query, or the user's interests if there is none."""
    with_query = {
        reason.text for reason in Explainer([_CHEESE], UserInput("soft cheese", []), _EVIDENCE).reasons_for(_CHEESE)
    }
    without = {reason.text for reason in Explainer([_CHEESE], UserInput("", []), _EVIDENCE).reasons_for(_CHEESE)}
    assert "matches the query “soft cheese”" in with_query
    assert "matches the user's interests" in without


def test_a_substitution_comes_before_all_else():
    """A substituted long-tail item has that as its first reason, which names the replaced item."""
    substitution = Substitution(RankedCandidate(_MILK, 3), RankedCandidate(_BREAD._replace(title="rye bread"), 1))
    explainer = Explainer([_MILK, _BREAD], UserInput("", ["milk"]), _EVIDENCE, [substitution])
    assert [reason.kind for reason in explainer.reasons_for(_MILK)][:2] == [
        ReasonKind.LONG_TAIL_SHARE,
        ReasonKind.IN_HISTORY,
    ]
    assert explainer.reasons_for(_MILK)[0].text == "chosen to include less popular items; it replaces “rye bread”"
    assert ReasonKind.LONG_TAIL_SHARE not in [reason.kind for reason in explainer.reasons_for(_BREAD)]


def test_sources_without_positive_scores_have_no_strength():
    """A source whose largest score is not positive is the weakest reason, not an error."""
    item = Candidate("i", 1.0, sources=(("semantic", -0.2), ("similar", 0.1)))
    kinds = [reason.kind for reason in Explainer([item], UserInput("", []), _EVIDENCE).reasons_for(item)]
    assert kinds == [ReasonKind.SIMILAR, ReasonKind.SEMANTIC]
