"""Answers as messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2

from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, Evidence, RankedCandidate
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.result import Degradation, DegradationKind, ExplainResult, RecommendResult
from services.gateway.rules.application import Effect, PolicyStep
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.server.response_messages import write_explain_response, write_recommend_response

_TEA = RankedCandidate(
    Candidate("tea", 0.9, (("popular", 0.5),), long_tail=True), 2, 0.25, 1.5, tier=ranking_pb2.TIER_CROSS_ENCODER
)
_MILK = RankedCandidate(Candidate("milk", 1.0, title="Milk"), 1)
_RESULT = RecommendResult(
    items=[_TEA],
    candidates=[_MILK.candidate, _TEA.candidate],
    user=UserInput("", []),
    release_id="r1",
    degradations=[Degradation(DegradationKind.PROFILE_UNAVAILABLE, "why")],
    timings_ms={"retrieval": 2.0, "total": 3.0},
    ignored_history_items=4,
    below_threshold=0,
    substitutions=[Substitution(_TEA, _MILK)],
    evidence={"popular": Evidence.POPULAR},
)


def test_an_answer_has_its_scores_and_the_replaced_item():
    """Scores that are missing stay unset, and a substitute names the item that it replaces."""
    response = write_recommend_response(_RESULT, "call-1", explain=False)
    (item,) = response.items
    assert (item.probability, item.cross_encoder_logit, item.first_stage_rank) == (0.25, 1.5, 2)
    assert item.tier == ranking_pb2.TIER_CROSS_ENCODER
    assert not item.HasField("late_interaction_score")
    assert not item.HasField("price")
    assert (item.long_tail, item.replaced_item_id) == (True, "milk")
    assert (response.release_id, response.request_id, response.ignored_history_items) == ("r1", "call-1", 4)
    assert (response.timings.retrieval_ms, response.timings.ranking_ms, response.timings.total_ms) == (2.0, 0.0, 3.0)
    assert response.long_tail_share == pytest.approx(1.0)
    assert not item.reasons
    assert not item.sources


def test_degradations_keep_kind_and_detail():
    """Each degradation has the contract's kind and its detail."""
    (degradation,) = write_recommend_response(_RESULT, "", explain=False).degradations
    assert degradation.kind == gateway_pb2.DEGRADATION_KIND_PROFILE_UNAVAILABLE
    assert degradation.detail == "why"


def test_an_explained_answer_has_reasons_and_sources():
    """With explain, an item has the scores of its sources and its reasons in order."""
    (item,) = write_recommend_response(_RESULT, "", explain=True).items
    assert [(each.source, each.score) for each in item.sources] == [("popular", 0.5)]
    assert [reason.kind for reason in item.reasons] == [
        gateway_pb2.REASON_KIND_LONG_TAIL_SHARE,
        gateway_pb2.REASON_KIND_POPULAR,
    ]
    assert item.reasons[0].text.endswith("it replaces “Milk”")


def test_what_a_rule_placed_is_not_said_to_be_popular():
    """An item that no source found has the shop's reason, in answers and explanations."""
    rule = Rule("pin", RuleKind.PIN, ItemSelection(("pin",)), slot=1)
    pin = RankedCandidate(Candidate("pin", -1.0), 3)
    shown = replace(_RESULT, items=[pin, _TEA], steps=[PolicyStep(rule, Effect.PLACED, "pin", 1)], named=["pin"])
    response = write_recommend_response(shown, "", explain=True)
    assert [reason.kind for reason in response.items[0].reasons] == [gateway_pb2.REASON_KIND_PLACED]
    explained = ExplainResult(pin, 3, [pin.candidate], UserInput("", []), "r1", _RESULT.evidence, named=["pin"])
    assert [each.text for each in write_explain_response(explained, "").item.reasons] == ["placed by the shop"]


def test_an_explanation_has_the_item_and_the_rankings_message():
    """The item has its reasons; what ranking wrote is passed on; without ranking the field is unset."""
    explanation = ranking_pb2.ExplainResponse(log_odds=1.25)
    result = ExplainResult(_TEA, 3, [_TEA.candidate], UserInput("", []), "r1", _RESULT.evidence, (), explanation)
    response = write_explain_response(result, "call-1")
    assert (response.item.item_id, response.rank, response.release_id, response.request_id) == (
        "tea",
        3,
        "r1",
        "call-1",
    )
    assert [reason.kind for reason in response.item.reasons] == [gateway_pb2.REASON_KIND_POPULAR]
    assert response.ranking == explanation
    assert not write_explain_response(replace(result, explanation=None), "").HasField("ranking")


def test_an_empty_answer_has_no_long_tail_share():
    """Without items the share of the long tail is unset."""
    response = write_recommend_response(replace(_RESULT, items=[], substitutions=[]), "", explain=False)
    assert not response.HasField("long_tail_share")
