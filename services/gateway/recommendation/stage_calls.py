"""The calls of both stages, with their shares of the time and what replaces a stage that fails."""

from __future__ import annotations

from common.errors import NotReady
from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.stages import (
    RankingBackend,
    RankingExplanation,
    RankingResult,
    RetrievalBackend,
    RetrievalResult,
    RetrieveRequest,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    UserInput,
)
from services.gateway.candidates import RankedCandidate
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.deadline import DeadlineShares
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.recommendation.result import DegradationKind


class StageCalls:
    """Calls retrieval and ranking; a failure becomes a degradation of the call's trace.

    Args:
        retrieval: The first stage.
        ranking: The second stage.
        popular: What to recommend while the first stage does not answer.
        shares: How the time of a call is divided.
    """

    def __init__(
        self, retrieval: RetrievalBackend, ranking: RankingBackend, popular: PopularItems, shares: DeadlineShares
    ) -> None:
        self._retrieval = retrieval
        self._ranking = ranking
        self._popular = popular
        self._shares = shares

    async def retrieve(self, request: RetrieveRequest, trace: CallTrace) -> RetrievalResult:
        """Retrieve candidates, or popular items if retrieval fails."""
        with trace.time_stage("retrieval"):
            try:
                return await self._retrieval.retrieve(request, trace.timeout_s(self._shares.retrieval_share))
            except StageFailed as failure:
                trace.observe_failure(failure)
                trace.no_time_for_retrieval = isinstance(failure, StageTooSlow | StageOverloaded)
                fallback = self._popular.fallback_for(request)
                trace.add_degradation(DegradationKind.RETRIEVAL_UNAVAILABLE, f"{failure}; {fallback.note}")
                return fallback.result

    async def rank(
        self, request: RecommendRequest, user: UserInput, retrieved: RetrievalResult, trace: CallTrace
    ) -> RankingResult | None:
        """Rank the candidates; None if ranking is not requested, has no candidates, or fails."""
        if request.stages is not Stages.BOTH or not retrieved.candidates:
            return None
        with trace.time_stage("ranking"):
            timeout_s = trace.timeout_s(self._shares.ranking_share)
            try:
                return await self._ranking.rank(user, retrieved.candidates, retrieved.release_id, timeout_s)
            except StageFailed as failure:
                trace.observe_failure(failure)
                trace.add_degradation(_ranking_degradation(failure), f"{failure}; the first stage's order is used")
                return None

    async def explain_ranking(
        self, item: RankedCandidate, user: UserInput, retrieved: RetrievalResult, trace: CallTrace
    ) -> RankingExplanation:
        """Return what decided a candidate's score; raises NotReady if ranking does not answer."""
        timeout_s = trace.timeout_s(self._shares.ranking_share)
        try:
            return await self._ranking.explain(
                user,
                retrieved.candidates,
                item.first_stage_rank - 1,
                retrieved.release_id,
                timeout_s,
            )
        except StageFailed as failure:
            raise NotReady(f"the item cannot be explained: {failure}") from failure


def _ranking_degradation(failure: StageFailed) -> DegradationKind:
    match failure:
        case StageTooSlow():
            return DegradationKind.RANKING_TOO_SLOW
        case StageOverloaded():
            return DegradationKind.RANKING_OVERLOADED
        case _:
            return DegradationKind.RANKING_UNAVAILABLE
