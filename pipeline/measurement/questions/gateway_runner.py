"""Answers evaluation questions through a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import numpy as np
from shortlist.gateway.v1.gateway_pb2 import Policy, RecommendRequest, RecommendResponse, Stages
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub

from common.errors import InvalidRequest, NotReady
from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR, Answer, tier_scores
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep

if TYPE_CHECKING:
    from shortlist.gateway.v1.gateway_pb2 import EventKind
    from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceAsyncStub

_STAGES: Final = {POPULAR: Stages.STAGES_POPULAR, FIRST: Stages.STAGES_FIRST, BOTH: Stages.STAGES_BOTH}
_CONCURRENT_CALLS: Final = 2
_TIMEOUT_S: Final = 30.0
_MAX_HISTORY: Final = 10_000


class GatewayRunner:
    """Answers questions through a running gateway that serves a release.

    Args:
        target: Host and port of the gateway.
        release_id: The measured release; an answer of another release is an error.
        security: TLS, certificates and token of the connection; None for neither.
    """

    def __init__(self, target: str, release_id: str, security: ChannelSecurity | None = None) -> None:
        self._target = target
        self._security = security
        self._release_id = release_id

    def answer_questions(
        self, questions: Sequence[Question], mode: str, limit: int, step: ProgressStep, long_tail_share: float = 0.0
    ) -> dict[str, Answer]:
        """Answer questions, two calls at a time.

        Args:
            questions: The questions.
            mode: One of `answers.MODES`.
            limit: Maximum number of items in an answer.
            step: Advanced by one for each answer.
            long_tail_share: Minimum long-tail share of an answer.

        Raises:
            NotReady: The gateway does not answer.
            InvalidRequest: It serves another release.
        """
        requests = [_request(question, mode, limit, long_tail_share) for question in questions]
        try:
            return asyncio.run(self._answers(requests, questions, step))
        except grpc.RpcError as error:
            raise NotReady(f"the gateway at {self._target} does not answer: {_detail(error)}") from error

    async def _answers(
        self, requests: Sequence[RecommendRequest], questions: Sequence[Question], step: ProgressStep
    ) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        unanswered = zip(questions, requests, strict=True)

        async def call_one_by_one(stub: RecommendationServiceAsyncStub) -> None:
            for question, request in unanswered:
                answers[question.key] = self._answer_from(await stub.Recommend(request, timeout=_TIMEOUT_S))
                step.advance()

        async with open_channel(self._target, self._security) as channel:
            stub: Any = RecommendationServiceStub(channel)
            await asyncio.gather(*(call_one_by_one(stub) for _ in range(_CONCURRENT_CALLS)))
        return {question.key: answers[question.key] for question in questions}

    def _answer_from(self, response: RecommendResponse) -> Answer:
        if response.release_id not in ("", self._release_id):
            raise InvalidRequest(
                f"the gateway at {self._target} serves release {response.release_id}, not {self._release_id}; "
                "name the store that it serves with --release, or activate the other release"
            )
        probability, logit, late = (
            np.array([getattr(item, name) if item.HasField(name) else np.nan for item in response.items], np.float64)
            for name in ("probability", "cross_encoder_logit", "late_interaction_score")
        )
        timings = response.timings
        return Answer(
            [item.item_id for item in response.items],
            probability,
            {"retrieval": timings.retrieval_ms, "ranking": timings.ranking_ms, "total": timings.total_ms},
            degraded=bool(response.degradations),
            tier_scores=tier_scores(logit, late, probability),
        )


def _request(question: Question, mode: str, limit: int, long_tail_share: float) -> RecommendRequest:
    history = question.history[-_MAX_HISTORY:]
    # Relevance is known of items, not of texts: who bought one of several items with the same text bought that one.
    policy = Policy(
        stages=_STAGES[mode],
        min_long_tail_share=long_tail_share,
        keep_duplicates=True,
        exclude_history=question.exclude_history,
    )
    return RecommendRequest(
        history_item_ids=history,
        history_kinds=cast("Sequence[EventKind.ValueType]", question.history_kinds[-_MAX_HISTORY:]),
        history_ages_s=question.history_ages_s[-_MAX_HISTORY:],
        query=question.query,
        limit=limit,
        policy=policy,
    )


def _detail(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
