"""The gateway as a server: protobuf in, protobuf out, and the parts it stands on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.telemetry import request_id
from services.gateway.backends import releases
from services.gateway.profiles.profile_store import ProfileStore
from services.gateway.recommendation.recommender import Recommender
from services.gateway.server import request_messages
from services.gateway.server.metrics import GatewayMetrics
from services.gateway.server.response_messages import write_recommend_response

NAME: Final = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].full_name


@dataclass(frozen=True)
class Engines:
    """What the gateway works with once it has started."""

    profiles: ProfileStore
    recommender: Recommender
    releases: releases.Releases


class RecommendationService(gateway_pb2_grpc.RecommendationServiceServicer):
    """The contract's service.

    Args:
        parts: Returns what it works with; raises NotReady before the gateway has started.
        metrics: Where answers are counted.
        timeout_s: How long a call may take, even where its deadline is later.
    """

    def __init__(self, parts: Callable[[], Engines], metrics: GatewayMetrics, timeout_s: float) -> None:
        self._parts = parts
        self._metrics = metrics
        self._timeout_s = timeout_s

    async def Recommend(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendRequest, context: Any
    ) -> gateway_pb2.RecommendResponse:
        """Recommend items; the call's log line names what went wrong on the way."""
        recommender = self._parts().recommender
        ask = request_messages.read_recommend_request(request)
        remaining_s = context.time_remaining()
        answer = await recommender.recommend(
            ask, None if remaining_s is None else min(float(remaining_s), self._timeout_s)
        )
        self._metrics.observe(answer, ask.stages)
        if answer.degradations:
            structlog.contextvars.bind_contextvars(
                degradations={str(degradation.kind): degradation.detail for degradation in answer.degradations}
            )
        return write_recommend_response(answer, request_id(), explain=request.explain)

    async def RecordEvents(  # noqa: N802
        self, request: gateway_pb2.RecordEventsRequest, context: Any
    ) -> gateway_pb2.RecordEventsResponse:
        """Record what users did; answers once it is durable."""
        del context
        events = request_messages.read_events(request, time.time_ns() // 1_000)
        recorded, duplicates = await self._parts().profiles.record(events)
        return gateway_pb2.RecordEventsResponse(recorded=recorded, duplicates=duplicates)

    async def ForgetUser(  # noqa: N802
        self, request: gateway_pb2.ForgetUserRequest, context: Any
    ) -> gateway_pb2.ForgetUserResponse:
        """Erase a user's profile and events."""
        del context
        user_id = request_messages.read_user_id(request)
        return gateway_pb2.ForgetUserResponse(erased_events=await self._parts().profiles.forget(user_id))
