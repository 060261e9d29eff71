"""The retrieval server: wires change feed, releases, RPC service and metrics together."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable, Sequence

import grpc
import structlog
from shortlist.release.v1 import release_pb2_grpc

from common.changes.stream_address import StreamAddress
from common.errors import NotReady
from common.gpu import device
from common.release.location import ReleaseOpener
from common.release.store import Release
from common.server.health import Dependencies
from common.server.live_release import LiveRelease
from common.server.release_service import SERVICE_NAME as RELEASE_SERVICE_NAME
from common.server.release_service import ReleaseService
from common.server.rollout.following import HEALTH_NAME, ServedRelease
from common.server.rollout.replicas import Replicas
from common.server.telemetry import Metrics
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.redis_feed import RedisFeed
from services.retrieval.changes.text_log import TextLog
from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch
from services.retrieval.server.loaded_release import EngineRefCount, LoadedRelease
from services.retrieval.server.metrics import RetrievalMetrics
from services.retrieval.server.response_messages import write_release_info
from services.retrieval.server.rpc_handlers import NAME, rpc_handlers
from services.retrieval.server.search_batcher import SearchBatcher
from services.retrieval.server.search_worker import SearchWorker
from services.retrieval.server.service import RetrievalService
from services.retrieval.settings import Settings

_log = structlog.get_logger()


class RetrievalServer:
    """The retrieval service as `common.server.server` runs it.

    Args:
        settings: The server's settings.
        metrics: Where its metrics are registered.
    """

    names: Sequence[str] = (NAME, RELEASE_SERVICE_NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._shared_metrics = metrics
        self._metrics = RetrievalMetrics(metrics)
        self._feed: ChangeFeed | None = None
        self._text_log: TextLog | None = None
        self._opening_text_log = asyncio.Lock()
        self._engines = EngineRefCount()
        self._opener = ReleaseOpener()
        self._live: LiveRelease[LoadedRelease] = LiveRelease(self._load, metrics, self._open)
        self.dependencies = Dependencies((HEALTH_NAME,))
        self._on_device_lost: Callable[[Exception], None] = lambda _: None
        self._served = ServedRelease(self._live, settings, metrics, self.dependencies)

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        service = RetrievalService(self._live, self._settings, self._metrics, self._opened_text_log)
        server.add_generic_rpc_handlers((rpc_handlers(service),))
        releases = ReleaseService(self._live, write_release_info, lambda: self._served.follower)
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(releases, server)

    async def start(self) -> None:
        """Open the change feed and load the release.

        Raises:
            NotReady: The changes can't be read or written.
            BadKey: The public keys of releases cannot be used.
            BadRelease: The release can't be served.
        """
        self._on_device_lost = self.dependencies.device_lost_reporter()
        self._feed = await asyncio.to_thread(self._open_feed)
        self._opener = self._settings.release_opener()
        settings, security = self._settings, self._settings.backend_security()
        ranking = Replicas(settings.ranking_target, security) if settings.ranking_target else None
        peers = Replicas(settings.release_peers, security) if settings.release_peers else None
        await self._served.start(self._opener, ranking, peers)

    async def stop(self) -> None:
        """Close the releases and the change feed."""
        await self._served.close()
        self._engines.shut_down()
        await self._live.close()
        if self._feed is not None:
            self._feed.close()

    async def _opened_text_log(self) -> TextLog:
        """Return the texts of changed items; the first call reads every change made so far."""
        async with self._opening_text_log:
            if self._text_log is None:
                if self._feed is None:
                    raise NotReady("the server is starting; call again when its health check reports SERVING")
                log = TextLog()
                await asyncio.to_thread(self._feed.subscribe, log)
                self._text_log = log
            return self._text_log

    def _open_feed(self) -> ChangeFeed:
        if self._settings.change_stream is None:
            return LocalFeed(self._settings.data_dir)
        address = StreamAddress.parse(self._settings.change_stream)
        feed = RedisFeed(address, self._metrics.set_connected, on_loss=self._metrics.count_loss)
        self._shared_metrics.watch_change_stream(feed.lag_s)
        return feed

    def _open(self, location: str) -> Release:
        return self._opener.open(location)

    def _load(self, release: Release) -> LoadedRelease:
        with self._engines.opening(release.id):
            stage = self._load_first_stage(release)
            worker = SearchWorker(
                release.id,
                stage,
                self._adaptive_ef_search(stage),
                self._metrics.observe,
                self._settings.candidate_cache_size,
            )
            batcher = SearchBatcher(worker.search_and_serialise, stage.pool, stage.threads)
            return LoadedRelease(release, stage, batcher, self._engines)

    def _load_first_stage(self, release: Release) -> FirstStage:
        options = self._settings.first_stage_options()
        options = dataclasses.replace(
            options,
            session=dataclasses.replace(options.session, on_device_lost=self._on_device_lost),
            on_batch=self._metrics.observe_batch,
            on_recall=self._metrics.observe_recall,
        )
        stage = FirstStage.load(release, options, self._feed)
        self._shared_metrics.watch_provider(is_met=options.session.is_met_by(stage.provider))
        self._metrics.watch_items(lambda: stage.snapshot.item_count)
        self._metrics.watch_audit(lambda: stage.unreachable, lambda: stage.audit_pending)
        self._metrics.set_index(stage.index_type)
        gpu = {} if options.session.provider == "cpu" else {"gpu": device.report().known()}
        _log.info(
            "first stage loaded",
            release_id=release.id,
            provider=stage.provider,
            index_type=stage.index_type,
            replayed_changes=stage.replayed_changes,
            **gpu,
        )
        return stage

    def _adaptive_ef_search(self, stage: FirstStage) -> AdaptiveEfSearch:
        def apply(ef_search: int) -> None:
            stage.set_ef_search(ef_search)
            self._metrics.set_ef_search(ef_search)

        settings = self._settings
        self._metrics.set_ef_search(settings.ef_search)
        target_s = settings.latency_target_ms / 1e3 or math.inf
        return AdaptiveEfSearch(settings.ef_search, settings.min_ef_search, target_s, apply)
