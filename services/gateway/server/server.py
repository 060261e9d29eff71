"""The gateway server: wires backends, profiles and RPCs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
from shortlist.gateway.v1 import gateway_pb2_grpc
from shortlist.release.v1 import release_pb2_grpc

from common.errors import NotReady
from common.server.channel import open_channel
from common.server.telemetry import Metrics
from services.gateway.backends import releases
from services.gateway.backends.grpc_clients import GrpcRanking, GrpcRetrieval
from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.release_alignment import align_releases
from services.gateway.profiles.sqlite_store import SqliteProfileStore
from services.gateway.recommendation.recommender import Recommender
from services.gateway.server.metrics import GatewayMetrics
from services.gateway.server.service import NAME, Engines, RecommendationService
from services.gateway.settings import Settings


class GatewayServer:
    """The gateway as `common.server.server` runs it; it serves also while the services behind it do not."""

    names: Sequence[str] = (NAME, releases.NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = GatewayMetrics(metrics)
        self._parts: Engines | None = None
        self._held = AsyncExitStack()

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        recommendation = RecommendationService(self._started, self._metrics, self._settings.request_timeout_s)
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(recommendation, server)
        release = releases.ReleaseService(lambda: self._started().releases)
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(release, server)

    async def start(self) -> None:
        """Open the profiles and the channels, and ask for popular items once.

        Raises:
            BadProfiles: The file of profiles cannot be used.
        """
        settings, profiles = self._settings, await self._open_profiles()
        retrieval_channel = await self._held.enter_async_context(open_channel(settings.retrieval_target))
        ranking_channel = await self._held.enter_async_context(open_channel(settings.ranking_target))
        retrieval, ranking = GrpcRetrieval(retrieval_channel), GrpcRanking(ranking_channel)
        popular = PopularItems(retrieval, settings.popular_items, settings.popular_refresh_s)
        served = releases.Releases(
            releases.Backend("retrieval", retrieval_channel, settings.activation_timeout_s),
            releases.Backend("ranking", ranking_channel, settings.activation_timeout_s),
            popular.refresh_soon,
        )
        recommender = Recommender(profiles, retrieval, ranking, popular, settings.tuning())
        self._metrics.watch_load(recommender.load)
        self._parts = Engines(profiles, recommender, served)
        await popular.refresh()
        self._keep_doing(popular.keep_fresh())
        if settings.release_sync_interval_s:
            self._keep_doing(align_releases(served, settings.release_sync_interval_s))

    def _keep_doing(self, work: Coroutine[Any, Any, None]) -> None:
        self._held.push_async_callback(_cancel, asyncio.create_task(work))

    async def stop(self) -> None:
        """Close everything, in the reverse order."""
        self._parts = None
        await self._held.aclose()

    async def _open_profiles(self) -> SqliteProfileStore:
        file = self._settings.profiles.expanduser()
        profiles = await asyncio.to_thread(SqliteProfileStore, file, self._settings.history_kinds())
        self._held.push_async_callback(profiles.close)
        return profiles

    def _started(self) -> Engines:
        if self._parts is None:
            raise NotReady("the gateway is starting; call again when the health check says SERVING")
        return self._parts


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
