"""Answers onto the wire."""

from __future__ import annotations

from typing import cast

from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.candidates import Item
from services.gateway.recommendation.reasons import Reason, Reasons
from services.gateway.recommendation.result import Degradation, RecommendResult


def write_recommend_response(
    answer: RecommendResult, request_id: str, *, explain: bool
) -> gateway_pb2.RecommendResponse:
    """Return an answer as a message; with ``explain`` its items carry reasons and what the sources said."""
    gave_way = {swap.came_in.candidate.item_id: swap.gave_way.candidate.item_id for swap in answer.swaps}
    items = [_item(item, gave_way.get(item.candidate.item_id, "")) for item in answer.items]
    if explain:
        reasons = Reasons(answer.candidates, answer.user, answer.swaps)
        for message, item in zip(items, answer.items, strict=True):
            _explain(message, item, reasons)
    return gateway_pb2.RecommendResponse(
        items=items,
        release_id=answer.release_id,
        degradations=[_degradation(degradation) for degradation in answer.degradations],
        timings=gateway_pb2.RecommendTimings(**{f"{stage}_ms": ms for stage, ms in answer.timings_ms.items()}),
        request_id=request_id,
        ignored_history_items=answer.ignored_history_items,
        long_tail_share=answer.long_tail_items / len(answer.items) if answer.items else None,
    )


def _item(item: Item, replaced_item_id: str) -> gateway_pb2.RecommendedItem:
    candidate = item.candidate
    return gateway_pb2.RecommendedItem(
        item_id=candidate.item_id,
        probability=item.probability,
        first_stage_score=candidate.score,
        first_stage_rank=item.first_stage_rank,
        cross_encoder_logit=item.cross_encoder_logit,
        late_interaction_score=item.late_score,
        tier=cast("ranking_pb2.Tier.ValueType", item.tier),
        title=candidate.title,
        brand=candidate.brand,
        category=candidate.category,
        price=candidate.price,
        long_tail=candidate.long_tail,
        replaced_item_id=replaced_item_id,
    )


def _explain(message: gateway_pb2.RecommendedItem, item: Item, reasons: Reasons) -> None:
    message.sources.extend(
        retrieval_pb2.SourceScore(source=name, score=score) for name, score in item.candidate.sources
    )
    message.reasons.extend(_reason(reason) for reason in reasons.of(item.candidate))


def _reason(reason: Reason) -> gateway_pb2.Reason:
    return gateway_pb2.Reason(kind=gateway_pb2.ReasonKind.Value(f"REASON_KIND_{reason.kind}"), text=reason.text)


def _degradation(degradation: Degradation) -> gateway_pb2.Degradation:
    kind = gateway_pb2.DegradationKind.Value(f"DEGRADATION_KIND_{degradation.kind}")
    return gateway_pb2.Degradation(kind=kind, detail=degradation.detail)
