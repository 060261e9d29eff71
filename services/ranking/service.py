"""The ranking service: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc
import structlog
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.change_stream import StreamAddress
from common.channel import remaining_s
from common.live_release import LiveRelease
from common.release import Release
from common.release_service import NAME as RELEASE_NAME
from common.release_service import ReleaseService, release_info
from common.telemetry import Metrics
from services.ranking.explain import MAX_WORDS
from services.ranking.jobs import Priority
from services.ranking.live_items import NO_LIVE_TEXTS, LiveItems
from services.ranking.messages import (
    MAX_CANDIDATES,
    MAX_HISTORY,
    read_candidate,
    read_candidates,
    read_least,
    read_person,
    read_priority,
    write_explanation,
    write_ranking,
)
from services.ranking.metrics import RankingMetrics
from services.ranking.pair_reader import Terms
from services.ranking.ranked import Depths
from services.ranking.second_stage import SecondStage
from services.ranking.settings import Settings

NAME: Final = ranking_pb2.DESCRIPTOR.services_by_name["RankingService"].full_name
# Kept back of a call's time for its way in, which a server does not see (gRPC tells it the time that was left when the
# call was sent), and for the answer's way out: a share, within bounds in seconds. Under load every call is read for as
# long as there is time, and what is not kept back here is missed by many calls at once.
_WAY_SHARE: Final = 0.05
_WAY_BOUNDS_S: Final = (0.002, 0.05)

_log = structlog.get_logger()


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
                terms = self._terms(context, read_priority(request), read_least(request, most))
                stage.check_room(len(request.candidates), terms)
                person = read_person(request.person, stage.catalogue)
                candidates = read_candidates(request.candidates, stage.catalogue, stage.sources, self._texts())
                with stage.keeping_time(terms):
                    ranking = await stage.rank(person.rows, candidates.rows, candidates.texts, depths, terms)
                    self._metrics.observe(ranking, person.ignored)
                    answer = write_ranking(ranking, request, stage.release.id, person.ignored)
                stage.after_reading.observe(time.monotonic() - ranking.read_at)
                return answer

    async def Explain(  # noqa: N802
        self, request: ranking_pb2.ExplainRequest, context: Any
    ) -> ranking_pb2.ExplainResponse:
        """Tell what moved an item's score."""
        async with asyncio.timeout(self._remaining_s(context)):
            with self._stage(request.release_id) as stage:
                person = read_person(request.person, stage.catalogue)
                candidate = read_candidate(request, stage.catalogue, stage.sources, self._texts())
                text = candidate.texts.get(0, "")
                terms = self._terms(context, Priority.INTERACTIVE)
                explained = await stage.explain(person.rows, candidate.rows, text, terms)
                return write_explanation(explained, stage.catalogue, stage.release.id)

    @contextmanager
    def _stage(self, release_id: str) -> Iterator[SecondStage]:
        with self._metrics.refusals(), self._live.lease(release_id) as stage:
            yield stage

    def _remaining_s(self, context: Any) -> float:
        return remaining_s(context, self._settings.request_timeout_s)

    def _terms(self, context: Any, priority: Priority, least: int = 0) -> Terms:
        deadline = time.monotonic() + less_the_way(self._remaining_s(context))
        return Terms(deadline, priority, context.peer(), least)

    def _depths(self, request: ranking_pb2.RankRequest) -> Depths:
        """Return how deep the tiers go: as the request says, else the server; None where it is the release's to say."""
        settings = self._settings
        late, cross_encoder = settings.late_interaction_depth, settings.cross_encoder_depth
        return Depths(
            request.late_interaction_depth if request.HasField("late_interaction_depth") else late,
            request.cross_encoder_depth if request.HasField("cross_encoder_depth") else cross_encoder,
        )


def less_the_way(remaining_s: float) -> float:
    """Return how many of a call's remaining seconds it may be worked on."""
    least_s, most_s = _WAY_BOUNDS_S
    return remaining_s - min(max(_WAY_SHARE * remaining_s, least_s), most_s)


class RankingServer:
    """The ranking service as `common.server` runs it."""

    names: Sequence[str] = (NAME, RELEASE_NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = RankingMetrics(metrics)
        self._live: LiveRelease[SecondStage] = LiveRelease(self._load, metrics)
        self._items: LiveItems | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        service = RankingService(self._live, self._settings, self._metrics, self._texts)
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(service, server)
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseService(self._live, self._describe), server)

    async def start(self) -> None:
        """Read the changes of the catalogue and load the release.

        Raises:
            NotReady: The changes can't be read.
            BadRelease: The release can't be served.
        """
        if self._settings.changes is not None:
            address = StreamAddress.parse(self._settings.changes)
            self._items = await asyncio.to_thread(LiveItems, address)
        await self._live.activate(self._settings.release)

    async def stop(self) -> None:
        """Let go of the releases and of the changes."""
        await self._live.close()
        if self._items is not None:
            await asyncio.to_thread(self._items.close)

    def _texts(self) -> Mapping[str, str]:
        """Return the texts of items added or replaced since the release."""
        return NO_LIVE_TEXTS if self._items is None else self._items.texts

    def _load(self, release: Release) -> SecondStage:
        stage = SecondStage.load(release, self._settings.options(), self._metrics.observe_batch)
        self._metrics.loaded(stage)
        _log.info("second stage loaded", release_id=release.id, providers=stage.providers)
        return stage

    def _describe(self, stage: SecondStage) -> release_pb2.ReleaseInfo:
        info = release_info("ranking", stage.release, stage.providers)
        info.items = len(stage.catalogue)
        limits = self._settings.limits()
        info.limits.update(
            candidates=MAX_CANDIDATES,
            history_items=MAX_HISTORY,
            explained_words=MAX_WORDS,
            cross_encoder_depth=_depth(self._settings, stage),
            queued_pairs=limits.queued_pairs,
            batch_tokens=limits.padded_tokens,
            batches_at_a_time=limits.workers,
        )
        return info


def _depth(settings: Settings, stage: SecondStage) -> int:
    """Return how many candidates are read where the request does not say."""
    return stage.depth if settings.cross_encoder_depth is None else settings.cross_encoder_depth
