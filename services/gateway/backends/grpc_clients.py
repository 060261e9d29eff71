"""The clients of retrieval and ranking over gRPC; they turn statuses into failures of a stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, cast, overload

import structlog
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.server.filter_messages import write_filter
from services.gateway.backends.replicas.replica import RequestRefused
from services.gateway.backends.replicas.replica_set import ReplicaSet
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
from services.gateway.candidates import Candidate, Evidence

# A service of a later version may name evidence that this gateway does not know.
_EVIDENCE: Final = {retrieval_pb2.Evidence.Value(f"EVIDENCE_{evidence}"): evidence for evidence in Evidence}

_log = structlog.get_logger()


class SourceScores(Sequence[tuple[str, float]]):
    """The scores of a candidate's sources as retrieval sent them; read only if an answer explains.

    Attributes:
        message: The candidate's message.
    """

    __slots__ = ("message",)

    def __init__(self, message: retrieval_pb2.Candidate) -> None:
        self.message = message

    @overload
    def __getitem__(self, index: int) -> tuple[str, float]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, float]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, float] | Sequence[tuple[str, float]]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return ((source.source, source.score) for source in self.message.sources)

    def __len__(self) -> int:
        return len(self.message.sources)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


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
            response = await self._replicas.call("Retrieve", _retrieve_request(request), timeout_s, repeatable=True)
        except RequestRefused as refused:
            if request.filter is not None:
                raise InvalidRequest(str(refused)) from refused
            raise RuntimeError(f"retrieval refused the gateway's request: {refused}") from refused
        return _retrieval_result(response)


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
        request = ranking_pb2.RankRequest(user=_user_context(user), release_id=release_id)
        for candidate in candidates:
            _write_candidate(request.candidates.add(), candidate)
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


def _retrieve_request(request: RetrieveRequest) -> retrieval_pb2.RetrieveRequest:
    return retrieval_pb2.RetrieveRequest(
        query=request.query,
        history_item_ids=request.history,
        history_kinds=_kinds(request.history_kinds),
        filter=None if request.filter is None else write_filter(request.filter),
        exclude_item_ids=request.exclude,
        limit=request.limit,
        sources=request.sources,
        distinct_texts=request.distinct_texts,
        exclude_history=request.exclude_history,
    )


def _user_context(user: UserInput) -> ranking_pb2.UserContext:
    return ranking_pb2.UserContext(
        query=user.query,
        history_item_ids=user.history,
        history_kinds=_kinds(user.history_kinds),
        history_ages_s=user.history_ages_s,
    )


def _kinds(kinds: Sequence[int]) -> Sequence[retrieval_pb2.EventKind.ValueType]:
    return cast("Sequence[retrieval_pb2.EventKind.ValueType]", kinds)  # the numbers are the contract's


def _retrieval_result(response: retrieval_pb2.RetrieveResponse) -> RetrievalResult:
    return RetrievalResult(
        [_candidate(message) for message in response.candidates],
        response.release_id,
        response.ignored_history_items,
        evidence={each.source: _EVIDENCE[each.evidence] for each in response.evidence if each.evidence in _EVIDENCE},
    )


def _candidate(message: retrieval_pb2.Candidate) -> Candidate:
    return Candidate(
        message.item_id,
        message.score,
        SourceScores(message),
        message.title,
        message.brand,
        message.category,
        message.price if message.HasField("price") else None,
        message.available,
        message.long_tail,
        message.text,
        message.text_hash,
    )


def _rank_candidate(candidate: Candidate) -> ranking_pb2.RankCandidate:
    message = ranking_pb2.RankCandidate()
    _write_candidate(message, candidate)
    return message


def _write_candidate(message: ranking_pb2.RankCandidate, candidate: Candidate) -> None:
    """Write a candidate field by field, which takes half the time of keywords."""
    message.item_id = candidate.item_id
    message.first_stage_score = candidate.score
    if candidate.text:
        message.text = candidate.text
    sources = candidate.sources
    if isinstance(sources, SourceScores):
        message.sources.MergeFrom(sources.message.sources)
    else:
        message.sources.extend(retrieval_pb2.SourceScore(source=name, score=score) for name, score in sources)


def _ranking_result(response: ranking_pb2.RankResponse, count: int) -> RankingResult:
    """Return the scores; checks that each belongs to its candidate, since mixed-up scores would go unnoticed."""
    if [item.index for item in response.items] != list(range(count)):
        raise StageUnavailable(f"ranking did not score all {count} candidates in order")
    if not all(math.isfinite(item.probability) for item in response.items):
        raise StageUnavailable("ranking answered with a probability that is not a finite number")
    return RankingResult(
        [_scores(item) for item in response.items],
        response.release_id,
        response.ignored_history_items,
        [TierUse(use.tier, use.planned_items, use.scored_items, use.left_out_items) for use in response.tiers],
    )


def _scores(item: ranking_pb2.RankedItem) -> RankingScores:
    if item.tier == ranking_pb2.TIER_FEATURES:
        return RankingScores(item.probability, tier=ranking_pb2.TIER_FEATURES)
    logit = item.cross_encoder_logit if item.HasField("cross_encoder_logit") else None
    late_score = item.late_interaction_score if item.HasField("late_interaction_score") else None
    return RankingScores(item.probability, logit, late_score, item.tier)


def _explained_scores(response: ranking_pb2.ExplainResponse) -> RankingScores:
    has_logit = response.tier == ranking_pb2.TIER_CROSS_ENCODER
    late_score = response.late_interaction_score if response.HasField("late_interaction_score") else None
    logit = response.cross_encoder_logit if has_logit else None
    return RankingScores(response.probability, logit, late_score, response.tier)
