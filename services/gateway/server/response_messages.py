"""Writes answers as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.backends.stages import TierUse
from services.gateway.candidates import RankedCandidate
from services.gateway.experiments.experiments import ShownVariant
from services.gateway.recommendation.reason_texts import DEFAULT_LANGUAGE, texts_of
from services.gateway.recommendation.reasons import Explainer, Reason
from services.gateway.recommendation.result import Degradation, ExplainResult, RecommendResult
from services.gateway.rules.application import Effect, PolicyStep

MAX_STEPS: Final = 500


def write_recommend_response(
    result: RecommendResult,
    request_id: str,
    variants: Sequence[ShownVariant] = (),
    *,
    explain: bool,
    language: str = DEFAULT_LANGUAGE,
) -> gateway_pb2.RecommendResponse:
    """Return an answer as a message; with ``explain``, its items have reasons and the scores of the sources."""
    replaced_ids = {each.substitute.candidate.item_id: each.replaced.candidate.item_id for each in result.substitutions}
    items = [_item(item, replaced_ids.get(item.candidate.item_id, "")) for item in result.items]
    for message, propensity in zip(items, result.propensities, strict=False):  # empty if nothing was drawn
        message.propensity = propensity
    if explain:
        placed = [step.item_id for step in result.steps if step.effect is Effect.PLACED]
        explainer = Explainer(
            result.candidates,
            result.user,
            result.evidence,
            result.substitutions,
            placed=placed,
            named=result.named,
            texts=texts_of(language),
        )
        for message, item in zip(items, result.items, strict=True):
            _explain(message, item, explainer)
    return gateway_pb2.RecommendResponse(
        items=items,
        release_id=result.release_id,
        degradations=[write_degradation(degradation) for degradation in result.degradations],
        timings=gateway_pb2.RecommendTimings(**{f"{stage}_ms": ms for stage, ms in result.timings_ms.items()}),
        request_id=request_id,
        ignored_history_items=result.ignored_history_items,
        long_tail_share=result.long_tail_items / len(result.items) if result.items else None,
        tiers=[_tier_use(use) for use in result.tiers],
        duplicates=result.duplicates,
        variants=[gateway_pb2.ExperimentVariant(**each._asdict()) for each in variants],
        corrected_query=result.corrected_query,
        rules_version=result.rules_version,
        policy_steps=[write_step(step) for step in result.steps[:MAX_STEPS]] if explain else (),
        language=texts_of(language).language if explain else "",
        answer_age_s=result.age_s,
        intra_list_diversity=result.intra_list_diversity,
        new_item_share=result.new_items / len(result.items) if result.items else None,
    )


def write_step(step: PolicyStep) -> gateway_pb2.PolicyStep:
    """Return what a rule changed as a message."""
    effect = gateway_pb2.PolicyEffect.Value(f"POLICY_EFFECT_{step.effect}")
    return gateway_pb2.PolicyStep(
        rule_id=step.rule.rule_id, effect=effect, item_id=step.item_id, position=step.position
    )


def write_explain_response(
    result: ExplainResult, request_id: str, language: str = DEFAULT_LANGUAGE
) -> gateway_pb2.ExplainResponse:
    """Return an explanation as a message."""
    texts = texts_of(language)
    explainer = Explainer(result.candidates, result.user, result.evidence, named=result.named, texts=texts)
    item = _item(result.item, "")
    _explain(item, result.item, explainer)
    return gateway_pb2.ExplainResponse(
        item=item,
        rank=result.rank,
        ranking=cast("ranking_pb2.ExplainResponse | None", result.explanation),
        release_id=result.release_id,
        degradations=[write_degradation(degradation) for degradation in result.degradations],
        request_id=request_id,
        corrected_query=result.corrected_query,
        language=texts.language,
    )


def _item(item: RankedCandidate, replaced_item_id: str) -> gateway_pb2.RecommendedItem:
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
        new_item=candidate.new_item,
        replaced_item_id=replaced_item_id,
    )


def _explain(message: gateway_pb2.RecommendedItem, item: RankedCandidate, explainer: Explainer) -> None:
    message.sources.extend(
        retrieval_pb2.SourceScore(source=name, score=score) for name, score in item.candidate.sources
    )
    message.reasons.extend(write_reason(reason) for reason in explainer.reasons_for(item.candidate))


def write_reason(reason: Reason) -> gateway_pb2.Reason:
    """Return a reason as a message."""
    return gateway_pb2.Reason(kind=gateway_pb2.ReasonKind.Value(f"REASON_KIND_{reason.kind}"), text=reason.text)


def _tier_use(use: TierUse) -> ranking_pb2.TierUse:
    return ranking_pb2.TierUse(
        tier=cast("ranking_pb2.Tier.ValueType", use.tier),
        planned_items=use.planned,
        scored_items=use.scored,
        left_out_items=use.left_out,
    )


def write_degradation(degradation: Degradation) -> gateway_pb2.Degradation:
    """Return a degradation as a message."""
    kind = gateway_pb2.DegradationKind.Value(f"DEGRADATION_KIND_{degradation.kind}")
    return gateway_pb2.Degradation(kind=kind, detail=degradation.detail)
