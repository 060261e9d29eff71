"""The retrieval server: wires engines, RPCs and release."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.changes.redis_stream import StreamAddress
from common.filters import MAX_CONDITIONS
from common.release.store import Release
from common.server.live_release import LiveRelease
from common.server.release_service import NAME as RELEASE_NAME
from common.server.release_service import ReleaseService, release_info
from common.server.telemetry import Metrics
from services.retrieval.candidates import request
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import MAX_BATCH_CANDIDATES, MAX_REQUESTS
from services.retrieval.catalogue import item_validation
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.redis_feed import RedisFeed
from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch
from services.retrieval.server.loaded_release import EngineRefCount, LoadedRelease
from services.retrieval.server.metrics import RetrievalMetrics
from services.retrieval.server.rpc_handlers import NAME, handlers
from services.retrieval.server.search_batcher import SearchBatcher
from services.retrieval.server.search_worker import SearchWorker
from services.retrieval.server.service import RetrievalService, log
from services.retrieval.settings import Settings

_LIMITS: Final = {
    "candidates": request.MAX_LIMIT,
    "history_items": request.MAX_HISTORY,
    "excluded_items": request.MAX_EXCLUDED,
    "requests": MAX_REQUESTS,
    "batch_candidates": MAX_BATCH_CANDIDATES,
    "items_a_call": item_validation.MAX_ITEMS,
    "filter_conditions": MAX_CONDITIONS,
}


class RetrievalServer:
    """The retrieval service as `common.server.server` runs it."""

    names: Sequence[str] = (NAME, RELEASE_NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = RetrievalMetrics(metrics)
        self._feed: ChangeFeed | None = None
        self._engines = EngineRefCount()
        self._live: LiveRelease[LoadedRelease] = LiveRelease(self._load, metrics)

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        service = RetrievalService(self._live, self._settings, self._metrics)
        server.add_generic_rpc_handlers((handlers(service),))
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseService(self._live, describe), server)

    async def start(self) -> None:
        """Recover the changes of the catalogue and load the release.

        Raises:
            NotReady: The changes can't be read or written.
            BadRelease: The release can't be served.
        """
        self._feed = await asyncio.to_thread(self._open_feed)
        await self._live.activate(self._settings.release)

    async def stop(self) -> None:
        """Let go of releases and of the changes."""
        self._engines.end()
        await self._live.close()
        if self._feed is not None:
            self._feed.close()

    def _open_feed(self) -> ChangeFeed:
        if self._settings.change_stream is None:
            return LocalFeed(self._settings.data_dir)
        return RedisFeed(StreamAddress.parse(self._settings.change_stream), self._metrics.set_connected)

    def _load(self, release: Release) -> LoadedRelease:
        with self._engines.opening(release.id):
            return self._open(release)

    def _open(self, release: Release) -> LoadedRelease:
        options = dataclasses.replace(
            self._settings.first_stage_options(),
            on_batch=self._metrics.observe_batch,
            on_recall=self._metrics.observe_recall,
        )
        stage = FirstStage.load(release, options, self._feed)
        self._metrics.watch_items(lambda: stage.view.items)
        self._metrics.watch_audit(lambda: stage.unreachable, lambda: stage.audit_due)
        self._metrics.set_index(stage.index_type)
        log.info(
            "first stage loaded",
            release_id=release.id,
            provider=stage.provider,
            index_type=stage.index_type,
            changes=stage.replayed,
        )
        answers = SearchWorker(
            release.id, stage, self._effort(stage), self._metrics.observe, self._settings.candidate_cache_size
        )
        return LoadedRelease(release, stage, SearchBatcher(answers.write, stage.pool, stage.threads), self._engines)

    def _effort(self, stage: FirstStage) -> AdaptiveEfSearch:
        def apply(ef_search: int) -> None:
            stage.search_with(ef_search)
            self._metrics.set_ef_search(ef_search)

        settings = self._settings
        self._metrics.set_ef_search(settings.ef_search)
        target_s = settings.latency_target_ms / 1e3 or math.inf
        return AdaptiveEfSearch(settings.ef_search, settings.min_ef_search, target_s, apply)


def describe(served: LoadedRelease) -> release_pb2.ReleaseInfo:
    """Tell what is being served."""
    info = release_info("retrieval", served.release, {"encoder": served.stage.provider})
    info.items = served.stage.view.items
    info.sources.extend(served.stage.sources)
    info.index_type = served.stage.index_type
    info.limits.update(_LIMITS)
    return info
