"""The gRPC clients of retrieval and ranking, and how they translate statuses."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from shortlist.ranking.v1 import ranking_pb2
from shortlist.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from shortlist.retrieval.v1 import retrieval_pb2
from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from common.errors import InvalidRequest
from common.filters import AllOf, Match, Range
from common.server.channel import open_channel
from services.gateway.backends.grpc_clients import GrpcRanking, GrpcRetrieval
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.backends.stages import (
    RankingScores,
    RetrieveRequest,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnavailable,
    UserInput,
)
from services.gateway.candidates import Candidate, Evidence
from testing.backends.planted_items import planted_vector

_CANDIDATES = [Candidate("item-0", 0.9, (("popular", 0.5),)), Candidate("new", 0.8, text="a new thing")]


@pytest.fixture
async def retrieval(backends: Any) -> AsyncIterator[GrpcRetrieval]:
    """Return a client of the fake service for retrieval."""
    async with open_channel(backends.retrieval_target) as channel:
        yield GrpcRetrieval(_alone("retrieval", channel, RetrievalServiceStub))


@pytest.fixture
async def ranking(backends: Any) -> AsyncIterator[GrpcRanking]:
    """Return a client of the fake service for ranking."""
    async with open_channel(backends.ranking_target) as channel:
        yield GrpcRanking(_alone("ranking", channel, RankingServiceStub))


def _alone(service: str, channel: grpc.aio.Channel, stub: Any) -> ReplicaSet:
    return ReplicaSet(service, [Replica(service, "here", channel, stub)])


async def test_a_request_reaches_retrieval_completely(backends: Any, retrieval: GrpcRetrieval):
    """Every field of the request is in the call, with the request id."""
    sent = RetrieveRequest(
        "milk", ["a", "a"], AllOf((Match("brand", ("x",)), Range("price", 1.0))), ["b"], 7, ["popular"]
    )
    with structlog.contextvars.bound_contextvars(request_id="call-1"):
        await retrieval.retrieve(sent, 5.0)
    (request,) = backends.retrieval.requests
    assert (request.query, list(request.history_item_ids), list(request.exclude_item_ids)) == (
        "milk",
        ["a", "a"],
        ["b"],
    )
    assert (request.limit, list(request.sources)) == (7, ["popular"])
    assert request.filter.all_of.filters[0].match == retrieval_pb2.Match(attribute="brand", values=["x"])
    assert request.filter.all_of.filters[1].range.min == pytest.approx(1.0)
    assert not request.filter.all_of.filters[1].range.HasField("max")
    assert backends.retrieval.metadata[0]["x-request-id"] == "call-1"


async def test_candidates_come_back_with_their_attributes(retrieval: GrpcRetrieval):
    """A candidate has the attributes that policy and answers need."""
    result = await retrieval.retrieve(RetrieveRequest(limit=2, history=["unknown"]), 5.0)
    assert result.candidates[1] == Candidate(
        "item-1",
        pytest.approx(0.99),
        (("behaviour", pytest.approx(0.98)), ("popular", 0.5)),  # type: ignore[arg-type]  # equals a float
        "title 1",
        "brand-1",
        "category-1",
        1.0,
        long_tail=True,
        new_item=True,
    )
    assert (result.release_id, result.ignored_history_items, result.is_fallback) == ("r1", 1, False)
    assert result.evidence == {"behaviour": Evidence.BEHAVIOUR, "popular": Evidence.POPULAR}


async def test_a_retrieval_service_without_source_columns_is_understood(backends: Any, retrieval: GrpcRetrieval):
    """An earlier version sends the scores in each candidate; they are the same."""
    now = (await retrieval.retrieve(RetrieveRequest(limit=3), 5.0)).candidates
    backends.retrieval.knows_source_columns = False
    earlier = (await retrieval.retrieve(RetrieveRequest(limit=3), 5.0)).candidates
    assert earlier == now
    assert [dict(one.sources) for one in earlier] == [dict(one.sources) for one in now]


async def test_scores_of_sources_go_to_ranking_with_their_candidates(
    backends: Any, retrieval: GrpcRetrieval, ranking: GrpcRanking
):
    """Each candidate keeps its scores, also if some candidates are left out, added or reordered."""
    found = list((await retrieval.retrieve(RetrieveRequest(limit=4), 5.0)).candidates)
    by_gateway = Candidate("new", 0.1, (("exploration", 1.0),), text="a new thing")
    for sent in (found, found[:2], found[::-1], [found[0], by_gateway, found[2]]):
        await ranking.rank(UserInput("", []), sent, "r1", 5.0)
        columns = backends.ranking.requests[-1].columns
        assert list(columns.item_ids) == [one.item_id for one in sent]
        for index, one in enumerate(sent):
            scores = {each.source: each.scores[index] for each in columns.sources}
            assert {name: score for name, score in scores.items() if not math.isnan(score)} == dict(one.sources)


_FAILURES = [
    (grpc.StatusCode.UNAVAILABLE, StageUnavailable),
    (grpc.StatusCode.INTERNAL, StageUnavailable),
    (grpc.StatusCode.NOT_FOUND, StageUnavailable),
    (grpc.StatusCode.UNIMPLEMENTED, StageUnavailable),
    (grpc.StatusCode.DEADLINE_EXCEEDED, StageTooSlow),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, StageOverloaded),
]


@pytest.mark.parametrize(("status", "failure"), _FAILURES)
async def test_statuses_of_retrieval_become_failures(
    backends: Any, retrieval: GrpcRetrieval, status: grpc.StatusCode, failure: type[StageFailed]
):
    """Every status except INVALID_ARGUMENT is a failed stage, with the status in its message."""
    backends.retrieval.status = status
    with pytest.raises(failure, match=f"retrieval answered {status.name}: failure on demand"):
        await retrieval.retrieve(RetrieveRequest(), 5.0)
    assert len(backends.retrieval.requests) == (2 if status is grpc.StatusCode.UNAVAILABLE else 1)


@pytest.mark.parametrize(("status", "failure"), _FAILURES)
async def test_statuses_of_ranking_become_failures(
    backends: Any, ranking: GrpcRanking, status: grpc.StatusCode, failure: type[StageFailed]
):
    """Ranking fails in the same way, and is never called twice."""
    backends.ranking.status = status
    with pytest.raises(failure, match=f"ranking answered {status.name}: failure on demand"):
        await ranking.rank(UserInput("", []), _CANDIDATES, "r1", 5.0)
    assert len(backends.ranking.requests) == 1


async def test_a_broken_connection_is_tried_once_more(backends: Any, retrieval: GrpcRetrieval):
    """One UNAVAILABLE is retried, since retrieving twice is harmless."""
    backends.retrieval.status, backends.retrieval.failures = grpc.StatusCode.UNAVAILABLE, 1
    assert (await retrieval.retrieve(RetrieveRequest(limit=3), 5.0)).candidates
    assert len(backends.retrieval.requests) == 2


async def test_a_late_answer_is_too_slow(backends: Any, retrieval: GrpcRetrieval, ranking: GrpcRanking):
    """A stage that does not answer within its timeout is too slow; without time it is not called."""
    backends.retrieval.delay_s = backends.ranking.delay_s = 30.0
    with pytest.raises(StageTooSlow):
        await retrieval.retrieve(RetrieveRequest(), 0.2)
    with pytest.raises(StageTooSlow, match="no time was left for ranking"):
        await ranking.rank(UserInput("", []), _CANDIDATES, "r1", 0.0)
    assert not backends.ranking.requests


async def test_a_filter_that_retrieval_refuses_is_the_callers_mistake(retrieval: GrpcRetrieval):
    """Retrieval's message on the caller's filter is passed on to the caller."""
    with pytest.raises(InvalidRequest, match=r"^filter\.match\.attribute: unknown 'colour'"):
        await retrieval.retrieve(RetrieveRequest(filter=Match("colour", ("red",))), 5.0)


async def test_any_other_refusal_is_the_gateways_mistake(backends: Any, retrieval: GrpcRetrieval):
    """If a request without a filter is refused, the caller did not cause it."""
    backends.retrieval.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(RuntimeError, match="failure on demand"):
        await retrieval.retrieve(RetrieveRequest(), 5.0)


async def test_candidates_reach_ranking_by_id_or_by_text(backends: Any, ranking: GrpcRanking):
    """An item of the release is sent by id, one added since by text, each with the first stage's scores."""
    with structlog.contextvars.bound_contextvars(request_id="call-2"):
        ranked = await ranking.rank(UserInput("milk", ["h"]), _CANDIDATES, "r7", 5.0)
    (request,) = backends.ranking.requests
    assert (request.user.query, list(request.user.history_item_ids)) == ("milk", ["h"])
    assert (request.release_id, request.sort) == ("r7", False)
    columns = request.columns
    assert (list(columns.item_ids), list(columns.texts)) == (["item-0", "new"], ["", "a new thing"])
    assert columns.first_stage_scores[0] == pytest.approx(0.9)
    assert [(each.source, each.scores[0]) for each in columns.sources] == [("popular", _CANDIDATES[0].sources[0][1])]
    assert backends.ranking.metadata[0]["x-request-id"] == "call-2"
    tier = ranking_pb2.TIER_CROSS_ENCODER
    assert ranked.scores == [
        RankingScores(pytest.approx(1 / 3), 0.0, 0.0, tier),
        RankingScores(pytest.approx(2 / 3), 1.0, -1.0, tier),
    ]
    assert ranked.release_id == "r7"


async def test_an_answer_that_lacks_an_item_is_a_failure(backends: Any, ranking: GrpcRanking):
    """Scores that do not match the candidates are never given to the wrong ones."""
    backends.ranking.left_out = 1
    with pytest.raises(StageUnavailable, match="score all 2 candidates"):
        await ranking.rank(UserInput("", []), _CANDIDATES, "r1", 5.0)


async def test_a_refused_ranking_is_a_failed_stage(backends: Any, ranking: GrpcRanking):
    """If ranking refuses the gateway's request, the first stage's order can still be used."""
    backends.ranking.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(StageUnavailable, match="ranking refused the request: failure on demand"):
        await ranking.rank(UserInput("", []), _CANDIDATES, "r1", 5.0)


async def test_an_explained_candidate_keeps_its_place(backends: Any, ranking: GrpcRanking):
    """The candidate is sent with its index and the others in order; what ranking answers is passed on."""
    explained = await ranking.explain(UserInput("milk", ["a"]), _CANDIDATES, 1, "r1", 5.0)
    (request,) = backends.ranking.requests
    assert (request.candidate.item_id, request.candidate.text, request.index) == ("new", "a new thing", 1)
    assert [other.item_id for other in request.other_candidates] == ["item-0"]
    assert (request.user.query, list(request.user.history_item_ids), request.release_id) == ("milk", ["a"], "r1")
    assert (explained.rank, explained.release_id) == (1, "r1")
    assert explained.scores == RankingScores(
        pytest.approx(2 / 3), pytest.approx(1.0), pytest.approx(-1.0), ranking_pb2.TIER_CROSS_ENCODER
    )  # type: ignore[arg-type]  # equals a float
    assert isinstance(explained.message, ranking_pb2.ExplainResponse)


async def test_vectors_come_only_if_they_are_asked_for(backends: Any, retrieval: GrpcRetrieval):
    """Each candidate has its own vector; none without a request for it, or from a service that knows of none."""
    with_vectors = (await retrieval.retrieve(RetrieveRequest(limit=3, vectors=True), 5.0)).candidates
    assert [candidate.vector for candidate in with_vectors] == [planted_vector(one.item_id) for one in with_vectors]
    assert not any(one.vector for one in (await retrieval.retrieve(RetrieveRequest(limit=3), 5.0)).candidates)
    backends.retrieval.knows_vectors = False
    earlier = (await retrieval.retrieve(RetrieveRequest(limit=3, vectors=True), 5.0)).candidates
    assert [candidate.vector for candidate in earlier] == [b""] * 3
