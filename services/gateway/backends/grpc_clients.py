"""The clients of retrieval and ranking over gRPC; they turn statuses into failures of a stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import structlog
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from services.gateway.backends.replicas.replica import RequestRefused
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.backends.retrieval_messages import (
    SourceScores,
    read_retrieval_result,
    write_kinds,
    write_retrieve_request,
)
from services.gateway.backends.stages import (
    RankingExplanation,
    RankingResult,
    RankingScores,
    RetrievalResult,
    RetrieveRequest,
    StageUnavailable,
    TierUse,
    UserInput,
)
from services.gateway.candidates import Candidate

_RANKING_PRIORITY = {False: ranking_pb2.PRIORITY_UNSPECIFIED, True: ranking_pb2.PRIORITY_BATCH}

_log = structlog.get_logger()


class GrpcRetrieval:
    """The first stage behind one or more replicas."""

    def __init__(self, replicas: ReplicaSet) -> None:
        self._replicas = replicas

    async def retrieve(self, request: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        """Retrieve candidates; see RetrievalBackend. A second try is harmless, see `ReplicaSet.call`.

        Raises:
            InvalidRequest: Retrieval refused the caller's filter.
            StageFailed: Retrieval did not answer.
            RuntimeError: Retrieval refused a part of the request that the gateway itself made.
        """
        try:
            message = write_retrieve_request(request)
            response = await self._replicas.call("Retrieve", message, timeout_s, repeatable=True)
        except RequestRefused as refused:
            if request.filter is not None:
                raise InvalidRequest(str(refused)) from refused
            raise RuntimeError(f"retrieval refused the gateway's request: {refused}") from refused
        return read_retrieval_result(response)

    async def retrieve_each(self, requests: Sequence[RetrieveRequest], timeout_s: float) -> Sequence[RetrievalResult]:
        """Answer several requests by one snapshot of the catalogue, in their order; raises as `retrieve` does."""
        message = retrieval_pb2.BatchRetrieveRequest(requests=map(write_retrieve_request, requests))
        try:
            response = await self._replicas.call("BatchRetrieve", message, timeout_s, repeatable=True)
        except RequestRefused as refused:
            raise InvalidRequest(str(refused)) from refused
        if len(response.responses) != len(requests):
            raise StageUnavailable("retrieval did not answer each request of a batch")
        return [read_retrieval_result(each) for each in response.responses]


class GrpcRanking:
    """The second stage behind one or more replicas."""

    def __init__(self, replicas: ReplicaSet) -> None:
        self._replicas = replicas

    async def rank(
        self, user: UserInput, candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        """Score candidates; see RankingBackend. Never tried twice: this is the costly stage.

        Raises:
            StageFailed: Ranking did not answer, or violated the contract.
        """
        columns = _rank_columns(candidates)
        request = ranking_pb2.RankRequest(
            user=_user_context(user), release_id=release_id, columns=columns, priority=_RANKING_PRIORITY[user.is_batch]
        )
        try:
            response = await self._replicas.call("Rank", request, timeout_s)
        except RequestRefused as refused:
            # A bug in the gateway, but the first stage's order serves the caller better than an error.
            _log.error("ranking refused the gateway's request", reason=str(refused))
            raise StageUnavailable(f"ranking refused the request: {refused}") from refused
        return _ranking_result(response, len(candidates))

    async def explain(
        self, user: UserInput, candidates: Sequence[Candidate], index: int, release_id: str, timeout_s: float
    ) -> RankingExplanation:
        """Explain one candidate's score; see RankingBackend. Never tried twice.

        Raises:
            StageFailed: Ranking did not answer.
        """
        request = ranking_pb2.ExplainRequest(
            user=_user_context(user),
            candidate=_rank_candidate(candidates[index]),
            other_candidates=[_rank_candidate(each) for at, each in enumerate(candidates) if at != index],
            index=index,
            release_id=release_id,
        )
        try:
            response = await self._replicas.call("Explain", request, timeout_s)
        except RequestRefused as refused:
            raise StageUnavailable(f"ranking refused the request: {refused}") from refused
        return RankingExplanation(_explained_scores(response), response.rank, response.release_id, response)


def _user_context(user: UserInput) -> ranking_pb2.UserContext:
    return ranking_pb2.UserContext(
        query=user.query,
        history_item_ids=user.history,
        history_kinds=write_kinds(user.history_kinds),
        history_ages_s=user.history_ages_s,
    )


def _rank_candidate(candidate: Candidate) -> ranking_pb2.RankCandidate:
    return ranking_pb2.RankCandidate(
        item_id=candidate.item_id,
        first_stage_score=candidate.score,
        text=candidate.text or None,
        sources=[retrieval_pb2.SourceScore(source=name, score=score) for name, score in candidate.sources],
    )


def _rank_columns(candidates: Sequence[Candidate]) -> ranking_pb2.CandidateColumns:
    texts = [candidate.text for candidate in candidates]
    columns = ranking_pb2.CandidateColumns(
        item_ids=[candidate.item_id for candidate in candidates],
        first_stage_scores=[candidate.score for candidate in candidates],
        texts=texts if any(texts) else (),
    )
    columns.sources.MergeFrom(_source_columns(candidates))
    return columns


def _source_columns(candidates: Sequence[Candidate]) -> Iterable[retrieval_pb2.SourceColumn]:
    """Return the scores of the candidates' sources by source: retrieval's own columns if these are its candidates."""
    if (columns := _columns_of(candidates)) is not None:
        return columns.sources
    scores: dict[str, list[float]] = {}
    for index, candidate in enumerate(candidates):
        for name, score in candidate.sources:
            scores.setdefault(name, [math.nan] * len(candidates))[index] = score
    return [retrieval_pb2.SourceColumn(source=name, scores=column) for name, column in scores.items()]


def _columns_of(candidates: Sequence[Candidate]) -> retrieval_pb2.CandidateColumns | None:
    """Return the columns whose rows are exactly these candidates, in their order; None if there are none."""
    first = candidates[0].sources
    if not isinstance(first, SourceScores) or len(first.columns.sources[0].scores) != len(candidates):
        return None
    for index, candidate in enumerate(candidates):
        sources = candidate.sources
        if not isinstance(sources, SourceScores) or sources.columns is not first.columns or sources.position != index:
            return None
    return first.columns


def _ranking_result(response: ranking_pb2.RankResponse, count: int) -> RankingResult:
    """Return the scores; checks that there is one for each candidate, since mixed-up scores would go unnoticed."""
    columns = response.columns
    probabilities, tiers = list(columns.probabilities), list(columns.tiers)
    logits, late_scores = (
        list(map(_known, scores)) or [None] * count
        for scores in (columns.cross_encoder_logits, columns.late_interaction_scores)
    )
    if any(len(column) != count for column in (probabilities, tiers, logits, late_scores)):
        raise StageUnavailable(f"ranking did not score all {count} candidates")
    if not all(map(math.isfinite, probabilities)):
        raise StageUnavailable("ranking answered with a probability that is not a finite number")
    return RankingResult(
        list(map(RankingScores, probabilities, logits, late_scores, tiers)),
        response.release_id,
        response.ignored_history_items,
        [TierUse(use.tier, use.planned_items, use.scored_items, use.left_out_items) for use in response.tiers],
    )


def _known(score: float) -> float | None:
    return None if math.isnan(score) else score


def _explained_scores(response: ranking_pb2.ExplainResponse) -> RankingScores:
    has_logit = response.tier == ranking_pb2.TIER_CROSS_ENCODER
    late_score = response.late_interaction_score if response.HasField("late_interaction_score") else None
    logit = response.cross_encoder_logit if has_logit else None
    return RankingScores(response.probability, logit, late_score, response.tier)
