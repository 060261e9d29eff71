"""The ranking service: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc

from common.server.channel import remaining_s
from common.server.live_release import LiveRelease
from services.ranking.admission.time_budget import less_return_time
from services.ranking.batching.job import CallContext, Priority
from services.ranking.cascade.results import Depths
from services.ranking.cascade.second_stage import SecondStage
from services.ranking.server.live_item_texts import NO_LIVE_TEXTS
from services.ranking.server.metrics import RankingMetrics
from services.ranking.server.request_messages import (
    read_candidate,
    read_candidates,
    read_min_depth,
    read_priority,
    read_user,
)
from services.ranking.server.response_messages import write_explain_response, write_rank_response
from services.ranking.settings import Settings

NAME: Final = ranking_pb2.DESCRIPTOR.services_by_name["RankingService"].full_name


log = structlog.get_logger()


class RankingService(ranking_pb2_grpc.RankingServiceServicer):
    """The servicer: reads messages, has the second stage rank, writes messages."""

    def __init__(
        self,
        live: LiveRelease[SecondStage],
        settings: Settings,
        metrics: RankingMetrics,
        texts: Callable[[], Mapping[str, str]] = lambda: NO_LIVE_TEXTS,
    ) -> None:
        self._live = live
        self._texts = texts
        self._settings = settings
        self._metrics = metrics

    async def Rank(  # noqa: N802 - the contract's name
        self, request: ranking_pb2.RankRequest, context: Any
    ) -> ranking_pb2.RankResponse:
        """Give each candidate its probability."""
        async with asyncio.timeout(self._remaining_s(context)):
            with self._stage(request.release_id) as stage:
                depths = self._depths(request)
                most = stage.depth if depths.cross_encoder is None else depths.cross_encoder
                terms = self._terms(context, read_priority(request), read_min_depth(request, most))
                stage.check_room(len(request.candidates), terms)
                user = read_user(request.user, stage.catalogue)
                candidates = read_candidates(request.candidates, stage.catalogue, stage.sources, self._texts())
                with stage.keeping_time(terms):
                    ranking = await stage.rank(user.rows, candidates.rows, candidates.texts, depths, terms)
                    self._metrics.observe(ranking, user.ignored)
                    answer = write_rank_response(ranking, request, stage.release.id, user.ignored)
                stage.after_reading.observe(time.monotonic() - ranking.read_at)
                return answer

    async def Explain(  # noqa: N802
        self, request: ranking_pb2.ExplainRequest, context: Any
    ) -> ranking_pb2.ExplainResponse:
        """Tell what moved an item's score."""
        async with asyncio.timeout(self._remaining_s(context)):
            with self._stage(request.release_id) as stage:
                user = read_user(request.user, stage.catalogue)
                candidate = read_candidate(request, stage.catalogue, stage.sources, self._texts())
                text = candidate.texts.get(0, "")
                terms = self._terms(context, Priority.INTERACTIVE)
                explained = await stage.explain(user.rows, candidate.rows, text, terms)
                return write_explain_response(explained, stage.catalogue, stage.release.id)

    @contextmanager
    def _stage(self, release_id: str) -> Iterator[SecondStage]:
        with self._metrics.refusals(), self._live.lease(release_id) as stage:
            yield stage

    def _remaining_s(self, context: Any) -> float:
        return remaining_s(context, self._settings.request_timeout_s)

    def _terms(self, context: Any, priority: Priority, least: int = 0) -> CallContext:
        deadline = time.monotonic() + less_return_time(self._remaining_s(context))
        return CallContext(deadline, priority, context.peer(), least)

    def _depths(self, request: ranking_pb2.RankRequest) -> Depths:
        """Return how deep the tiers go: as the request says, else the server; None where it is the release's to say."""
        settings = self._settings
        late, cross_encoder = settings.late_interaction_depth, settings.cross_encoder_depth
        return Depths(
            request.late_interaction_depth if request.HasField("late_interaction_depth") else late,
            request.cross_encoder_depth if request.HasField("cross_encoder_depth") else cross_encoder,
        )
