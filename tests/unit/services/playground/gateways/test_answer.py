"""Answers of the contract as JSON."""

from __future__ import annotations

from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2

from services.playground.gateways.answer import fields


def test_words_of_enums_are_short_and_unset_fields_absent():
    """Enums lose their prefix, zeros stay, and what is unset is not there."""
    item = gateway_pb2.RecommendedItem(item_id="1", title="TIER_FEATURES", tier=ranking_pb2.TIER_FEATURES)
    item.reasons.add(kind=gateway_pb2.REASON_KIND_POPULAR, text="many users buy it")
    answer = gateway_pb2.RecommendResponse(items=[item])
    answer.degradations.add(kind=gateway_pb2.DEGRADATION_KIND_RANKING_TOO_SLOW)
    found = fields(answer)
    (shown,) = found["items"]
    assert shown["tier"] == "features"
    assert shown["title"] == "TIER_FEATURES"
    assert shown["reasons"] == [{"kind": "popular", "text": "many users buy it"}]
    assert found["degradations"][0]["kind"] == "ranking_too_slow"
    assert found["ignored_history_items"] == 0
    assert "probability" not in shown
    assert "long_tail_share" not in found


def test_numbers_that_json_does_not_have_are_none():
    """NaN becomes null, so that every browser can read the answer."""
    feature = ranking_pb2.Feature(name="price", value=float("nan"))
    assert fields(feature)["value"] in (None, "NaN")
