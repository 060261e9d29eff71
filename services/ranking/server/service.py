"""The RPC methods of the ranking service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc

from common.server.channel import remaining_s
from common.server.event_loop import MAX_BYTES_ON_LOOP
from common.server.live_release import LiveRelease
from services.ranking.admission.time_budget import usable_s
from services.ranking.cascade.results import Ranking, RequestedDepths
from services.ranking.cascade.second_stage import SecondStage
from services.ranking.request import CallContext, Priority
from services.ranking.server.live_item_texts import NO_LIVE_TEXTS
from services.ranking.server.metrics import RankingMetrics
from services.ranking.server.request_messages import (
    ParsedCandidates,
    ParsedUser,
    count_candidates,
    parse_candidates,
    parse_columns,
    parse_explained,
    parse_min_depth,
    parse_priority,
    parse_user,
)
from services.ranking.server.response_messages import (
    write_columns_response,
    write_explain_response,
    write_rank_response,
)
from services.ranking.settings import Settings

NAME: Final = ranking_pb2.DESCRIPTOR.services_by_name["RankingService"].full_name
log = structlog.get_logger()


class RankingService(ranking_pb2_grpc.RankingServiceServicer):
    """Parses requests, ranks with the second stage, and writes responses."""

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
        """Compute each candidate's probability."""
        async with asyncio.timeout(self._remaining_s(context)):
            with self._stage(request.release_id) as stage:
                depths = self._depths(request)
                max_depth = stage.depth if depths.cross_encoder is None else depths.cross_encoder
                max_depth = max_depth if stage.has_cross_encoder else 0
                call = self._call(context, parse_priority(request), parse_min_depth(request, max_depth))
                budget = stage.admit(count_candidates(request), call)
                user, candidates = await self._read(request, stage, lambda: self._candidates(request, stage))
                with stage.times.observe_cancellation(budget):
                    ranking = await stage.rank(user.rows, candidates.rows, candidates.texts, depths, call)
                    self._metrics.observe_ranking(ranking, user.ignored_items)
                    response = _response(ranking, request, stage.release.id, user.ignored_items)
                stage.times.after_reading.observe(time.monotonic() - ranking.read_at)
                return response

    async def Explain(  # noqa: N802
        self, request: ranking_pb2.ExplainRequest, context: Any
    ) -> ranking_pb2.ExplainResponse:
        """Explain an item's score."""
        async with asyncio.timeout(self._remaining_s(context)):
            with self._stage(request.release_id) as stage:
                user, candidates = await self._read(
                    request,
                    stage,
                    lambda: parse_explained(request, stage.catalogue, stage.sources, self._texts()),
                )
                call = self._call(context, Priority.INTERACTIVE)
                depths = RequestedDepths(self._settings.late_interaction_depth, self._settings.cross_encoder_depth)
                explained = await stage.explain(
                    user.rows, candidates.rows, candidates.texts, request.index, depths, call
                )
                return write_explain_response(explained, stage.catalogue, stage.release.id)

    async def _read(
        self,
        request: ranking_pb2.RankRequest | ranking_pb2.ExplainRequest,
        stage: SecondStage,
        read_candidates: Callable[[], ParsedCandidates],
    ) -> tuple[ParsedUser, ParsedCandidates]:
        """Read a request, on a thread if it is large: other calls are answered meanwhile."""

        def read() -> tuple[ParsedUser, ParsedCandidates]:
            return parse_user(request.user, stage.catalogue, stage.event_weights), read_candidates()

        return await stage.run(read) if request.ByteSize() > MAX_BYTES_ON_LOOP else read()

    def _candidates(self, request: ranking_pb2.RankRequest, stage: SecondStage) -> ParsedCandidates:
        if request.HasField("columns"):
            return parse_columns(request.columns, stage.catalogue, stage.sources, self._texts())
        return parse_candidates(request.candidates, stage.catalogue, stage.sources, self._texts())

    @contextmanager
    def _stage(self, release_id: str) -> Iterator[SecondStage]:
        with self._metrics.refusals(), self._live.lease(release_id) as stage:
            yield stage

    def _remaining_s(self, context: Any) -> float:
        return remaining_s(context, self._settings.request_timeout_s)

    def _call(self, context: Any, priority: Priority, min_pairs: int = 0) -> CallContext:
        deadline = time.monotonic() + usable_s(self._remaining_s(context))
        return CallContext(deadline, priority, context.peer(), min_pairs)

    def _depths(self, request: ranking_pb2.RankRequest) -> RequestedDepths:
        """Return the tiers' depths of the request, else of the server, else None: the release decides."""
        settings = self._settings
        late, cross_encoder = settings.late_interaction_depth, settings.cross_encoder_depth
        return RequestedDepths(
            request.late_interaction_depth if request.HasField("late_interaction_depth") else late,
            request.cross_encoder_depth if request.HasField("cross_encoder_depth") else cross_encoder,
        )


def _response(
    ranking: Ranking, request: ranking_pb2.RankRequest, release_id: str, ignored_items: int
) -> ranking_pb2.RankResponse:
    if request.HasField("columns"):
        return write_columns_response(ranking, release_id, ignored_items)
    return write_rank_response(ranking, request, release_id, ignored_items)
