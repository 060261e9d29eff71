"""The gateway's RPC methods."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import structlog
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import InvalidRequest
from common.server.telemetry import request_id
from common.tracing.spans import recorded_span
from services.gateway.impressions.records import Impression, RecordedEvent
from services.gateway.server import request_messages
from services.gateway.server.components import Components
from services.gateway.server.methods.batching import BatchCall
from services.gateway.server.methods.browsing import BrowsingMethods
from services.gateway.server.response_messages import write_explain_response, write_recommend_response

RECOMMENDATION_SERVICE: Final = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].full_name
RELEASE_SERVICE: Final = release_pb2.DESCRIPTOR.services_by_name["ReleaseService"].full_name


class RecommendationService(BrowsingMethods, gateway_pb2_grpc.RecommendationServiceServicer):
    """The contract's RecommendationService."""

    async def Recommend(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.RecommendRequest, context: Any
    ) -> gateway_pb2.RecommendResponse:
        """Recommend items; the call's log line has the degradations."""
        experiments = self._components().experiments
        asked = request_messages.read_recommend_request(request)
        result, recommend_request, variants = await experiments.recommend(asked, self._remaining_s(context))
        span = recorded_span()
        self._metrics.observe_answer(result, recommend_request.stages, "" if span is None else span.trace_id)
        if span is not None:
            span.set({"shortlist.degradations": [str(degradation.kind) for degradation in result.degradations]})
        if result.degradations:
            structlog.contextvars.bind_contextvars(
                degradations={str(degradation.kind): degradation.detail for degradation in result.degradations}
            )
        if (log := self._components().impressions) is not None:
            log.write(Impression.of(recommend_request, result, request_id(), time.time_ns() // 1_000, variants))
        self._components().recent.append(recommend_request)
        return write_recommend_response(
            result, request_id(), variants, explain=request.explain, language=recommend_request.language
        )

    def BatchRecommend(  # noqa: N802
        self, request_iterator: AsyncIterator[gateway_pb2.BatchRecommendRequest], context: Any
    ) -> AsyncIterator[gateway_pb2.BatchRecommendResponse]:
        """Recommend items to many users."""
        remaining_s = context.time_remaining()
        ends_at_s = None if remaining_s is None else time.monotonic() + remaining_s
        recommender, options = self._components().recommender, self._batches
        call = BatchCall(recommender, self._metrics, ends_at_s, options.max_in_flight, options.timeout_s)
        return call.answers(request_iterator)

    async def Explain(  # noqa: N802
        self, request: gateway_pb2.ExplainRequest, context: Any
    ) -> gateway_pb2.ExplainResponse:
        """Explain why an item has its place."""
        recommender = self._components().recommender
        item_id = request_messages.read_item_id(request)
        recommend_request = request_messages.read_recommend_request(request.request)
        result = await recommender.explain(recommend_request, item_id, self._remaining_s(context))
        return write_explain_response(result, request_id(), recommend_request.language)

    async def RecordEvents(  # noqa: N802
        self, request: gateway_pb2.RecordEventsRequest, context: Any
    ) -> gateway_pb2.RecordEventsResponse:
        """Record events; returns once they are durable."""
        del context
        events = request_messages.read_events(request, time.time_ns() // 1_000)
        components = self._components()
        recorded, duplicates = await components.profiles.record_events(events)
        if components.impressions is not None:
            for event in events:
                components.impressions.write(RecordedEvent(event))
        return gateway_pb2.RecordEventsResponse(recorded=recorded, duplicates=duplicates)

    async def ForgetUser(  # noqa: N802
        self, request: gateway_pb2.ForgetUserRequest, context: Any
    ) -> gateway_pb2.ForgetUserResponse:
        """Erase a user's profile, events, kept answers and lines in the log of impressions."""
        del context
        user_id = request_messages.read_user_id(request)
        components = self._components()
        if components.impressions is not None:
            await components.impressions.erase_user(user_id)
        components.recent.forget_user(user_id)
        erased = await components.profiles.forget_user(user_id)
        if components.answers is not None:
            components.answers.forget_user(user_id)
        return gateway_pb2.ForgetUserResponse(erased_events=erased)


class ReleaseService(release_pb2_grpc.ReleaseServiceServicer):
    """The contract's ReleaseService, for both services behind the gateway.

    Args:
        components: Returns the components; raises NotReady before the gateway has started.
    """

    def __init__(self, components: Callable[[], Components]) -> None:
        self._components = components

    async def GetRelease(  # noqa: N802
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.GetReleaseResponse:
        """Return the release that is served."""
        del request, context
        return await self._components().releases.get_release()

    async def ActivateRelease(  # noqa: N802
        self, request: release_pb2.ActivateReleaseRequest, context: Any
    ) -> release_pb2.ActivateReleaseResponse:
        """Have both services serve another release; raises InvalidRequest without a location."""
        del context
        if not request.location.strip():
            raise InvalidRequest("location: must be the path or URL of a release or of a release store")
        return await self._components().releases.activate(request.location)
