"""The gateway as a server: protobuf in, protobuf out, and the parts it stands on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2_grpc

from common.channel import open_channel
from common.errors import NotReady
from common.telemetry import Metrics, request_id
from services.gateway import releases, request_messages
from services.gateway.alignment import keep_aligned
from services.gateway.answer_messages import write_answer
from services.gateway.clients import GrpcRanking, GrpcRetrieval
from services.gateway.metrics import GatewayMetrics
from services.gateway.popular import PopularItems
from services.gateway.profiles import Profiles
from services.gateway.recommend import Recommender
from services.gateway.settings import Settings
from services.gateway.sqlite_profiles import SqliteProfiles

NAME: Final = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].full_name


@dataclass(frozen=True)
class _Parts:
    """What the gateway works with once it has started."""

    profiles: Profiles
    recommender: Recommender
    releases: releases.Releases


class RecommendationService(gateway_pb2_grpc.RecommendationServiceServicer):
    """The contract's service.

    Args:
        parts: Returns what it works with; raises NotReady before the gateway has started.
        metrics: Where answers are counted.
        timeout_s: How long a call may take, even where its deadline is later.
    """

    def __init__(self, parts: Callable[[], _Parts], metrics: GatewayMetrics, timeout_s: float) -> None:
        self._parts = parts
        self._metrics = metrics
        self._timeout_s = timeout_s

    async def Recommend(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendRequest, context: Any
    ) -> gateway_pb2.RecommendResponse:
        """Recommend items; the call's log line names what went wrong on the way."""
        recommender = self._parts().recommender
        ask = request_messages.read_ask(request)
        remaining_s = context.time_remaining()
        answer = await recommender.recommend(
            ask, None if remaining_s is None else min(float(remaining_s), self._timeout_s)
        )
        self._metrics.observe(answer, ask.stages)
        if answer.degradations:
            structlog.contextvars.bind_contextvars(
                degradations={str(degradation.kind): degradation.detail for degradation in answer.degradations}
            )
        return write_answer(answer, request_id(), explain=request.explain)

    async def RecordEvents(  # noqa: N802
        self, request: gateway_pb2.RecordEventsRequest, context: Any
    ) -> gateway_pb2.RecordEventsResponse:
        """Record what people did; answers once it is durable."""
        del context
        events = request_messages.read_events(request, time.time_ns() // 1_000)
        recorded, duplicates = await self._parts().profiles.record(events)
        return gateway_pb2.RecordEventsResponse(recorded=recorded, duplicates=duplicates)

    async def ForgetUser(  # noqa: N802
        self, request: gateway_pb2.ForgetUserRequest, context: Any
    ) -> gateway_pb2.ForgetUserResponse:
        """Erase a person's profile and events."""
        del context
        user_id = request_messages.read_user_id(request)
        return gateway_pb2.ForgetUserResponse(erased_events=await self._parts().profiles.forget(user_id))


class GatewayServer:
    """The gateway as `common.server` runs it; it serves also while the services behind it do not."""

    names: Sequence[str] = (NAME, releases.NAME)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = GatewayMetrics(metrics)
        self._parts: _Parts | None = None
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
        self._parts = _Parts(profiles, recommender, served)
        await popular.refresh()
        self._keep_doing(popular.keep_fresh())
        if settings.alignment_s:
            self._keep_doing(keep_aligned(served, settings.alignment_s))

    def _keep_doing(self, work: Coroutine[Any, Any, None]) -> None:
        self._held.push_async_callback(_cancel, asyncio.create_task(work))

    async def stop(self) -> None:
        """Close everything, in the reverse order."""
        self._parts = None
        await self._held.aclose()

    async def _open_profiles(self) -> SqliteProfiles:
        file = self._settings.profiles.expanduser()
        profiles = await asyncio.to_thread(SqliteProfiles, file, self._settings.history_kinds())
        self._held.push_async_callback(profiles.close)
        return profiles

    def _started(self) -> _Parts:
        if self._parts is None:
            raise NotReady("the gateway is starting; call again when the health check says SERVING")
        return self._parts


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
