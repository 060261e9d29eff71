"""The ranking server: wires release, second stage and RPCs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import grpc
from shortlist.ranking.v1 import ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.changes.stream_address import StreamAddress
from common.gpu import device
from common.release.location import ReleaseOpener
from common.release.store import Release
from common.server.health import Dependencies
from common.server.live_release import LiveRelease
from common.server.release_service import SERVICE_NAME as RELEASE_SERVICE_NAME
from common.server.release_service import ReleaseService, release_info
from common.server.rollout.following import HEALTH_NAME, ServedRelease
from common.server.rollout.replicas import Replicas
from common.server.telemetry import Metrics
from services.ranking.batching.batcher import BatchReport
from services.ranking.cascade.second_stage import SecondStage
from services.ranking.cross_encoder.explanation import MAX_WORDS
from services.ranking.request import MAX_CANDIDATES
from services.ranking.server.batch_trace import trace_batch
from services.ranking.server.followed_texts import FollowedTexts
from services.ranking.server.live_item_texts import NO_LIVE_TEXTS, LiveItemTexts
from services.ranking.server.metrics import RankingMetrics
from services.ranking.server.request_messages import MAX_HISTORY
from services.ranking.server.service import NAME, RankingService, log
from services.ranking.settings import Settings


class RankingServer:
    """The ranking service; `common.server.server` runs it."""

    names: Sequence[str] = (NAME, RELEASE_SERVICE_NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._shared_metrics = metrics
        self._metrics = RankingMetrics(metrics)
        self._opener = ReleaseOpener()
        self._live: LiveRelease[SecondStage] = LiveRelease(self._load, metrics, self._open)
        self.dependencies = Dependencies((HEALTH_NAME,))
        self._served = ServedRelease(self._live, settings, metrics, self.dependencies)
        self._on_device_lost: Callable[[Exception], None] = lambda _: None
        self._live_texts: LiveItemTexts | None = None
        self._followed_texts: FollowedTexts | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        service = RankingService(self._live, self._settings, self._metrics, self._texts)
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(service, server)
        releases = ReleaseService(self._live, self._describe, lambda: self._served.follower)
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(releases, server)

    async def start(self) -> None:
        """Read the catalogue's changes and load the release.

        Raises:
            NotReady: The changes cannot be read.
            BadKey: The public keys of releases cannot be used.
            BadRelease: The release cannot be served.
        """
        settings = self._settings
        self._on_device_lost = self.dependencies.device_lost_reporter()
        if settings.change_stream is not None:
            address = StreamAddress.parse(settings.change_stream)
            set_connected = self._metrics.watch_texts(connected=True)
            self._live_texts = await asyncio.to_thread(LiveItemTexts, address, set_connected)
            self._shared_metrics.watch_change_stream(self._live_texts.lag_s)
        if settings.retrieval_target:
            set_connected = self._metrics.watch_texts(connected=False)
            self._followed_texts = FollowedTexts(settings.retrieval_target, settings.backend_security(), set_connected)
        self._opener = settings.release_opener()
        security = settings.backend_security()
        peers = Replicas(settings.release_peers, security) if settings.release_peers else None
        await self._served.start(self._opener, None, peers)
        if self._followed_texts is not None:
            await self._followed_texts.wait_until_followed(settings.texts_wait_s)

    async def stop(self) -> None:
        """Close the releases and stop following the changes."""
        await self._served.close()
        await self._live.close()
        if self._live_texts is not None:
            await asyncio.to_thread(self._live_texts.close)
        if self._followed_texts is not None:
            await self._followed_texts.close()

    def _texts(self) -> Mapping[str, str]:
        """Return the texts of items added or replaced since the release."""
        followed = self._live_texts or self._followed_texts
        return NO_LIVE_TEXTS if followed is None else followed.texts

    def _open(self, location: str) -> Release:
        return self._opener.open(location)

    def _load(self, release: Release) -> SecondStage:
        options = self._settings.options()
        options = replace(options, session=replace(options.session, on_device_lost=self._on_device_lost))
        stage = SecondStage.load(release, options, self._observe_batch)
        self._metrics.register(stage)
        # The fusion model runs on the CPU by design.
        used = [provider for name, provider in stage.providers.items() if name != "fusion"]
        self._shared_metrics.watch_provider(is_met=all(map(options.session.is_met_by, used)))
        gpu = {} if options.session.provider == "cpu" else {"gpu": device.report().known()}
        log.info("second stage loaded", release_id=release.id, providers=stage.providers, **gpu)
        return stage

    def _observe_batch(self, report: BatchReport) -> None:
        self._metrics.observe_batch(report)
        if report.spans:
            trace_batch(report)

    def _describe(self, stage: SecondStage) -> release_pb2.ReleaseInfo:
        info = release_info("ranking", stage.release, stage.providers)
        info.items = len(stage.catalogue)
        limits = self._settings.limits()
        info.limits.update(
            candidates=MAX_CANDIDATES,
            history_items=MAX_HISTORY,
            explained_words=MAX_WORDS,
            cross_encoder_depth=_depth(self._settings, stage),
            max_queued_pairs=limits.max_queued_pairs,
            max_batch_tokens=limits.padded_tokens,
            batches_at_a_time=limits.workers,
        )
        return info


def _depth(settings: Settings, stage: SecondStage) -> int:
    """Return how many candidates are read at most if the request sets no depth."""
    if settings.cross_encoder_depth is None or not stage.has_cross_encoder:
        return stage.depth
    return settings.cross_encoder_depth
