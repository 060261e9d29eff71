"""BatchRecommend: recommendations for many users in one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import structlog
from shortlist.gateway.v1 import gateway_pb2

from common.errors import DeadlineTooShort, Overloaded, ShortlistError
from common.server.telemetry import request_id
from services.gateway.batches.bounded_map import BoundedMap
from services.gateway.recommendation.recommender import Recommender
from services.gateway.recommendation.result import RecommendResult
from services.gateway.server.metrics import GatewayMetrics
from services.gateway.server.request_messages import check_id, read_recommend_request
from services.gateway.server.response_messages import write_recommend_response

_log = structlog.get_logger()


class BatchCall:
    """One call of BatchRecommend.

    Args:
        recommender: Answers the requests.
        metrics: Counts the answers.
        ends_at_s: When the call ends, in seconds of the monotonic clock; None without a deadline.
        max_in_flight: How many requests are worked on at a time.
        timeout_s: The time of one request.
    """

    def __init__(
        self,
        recommender: Recommender,
        metrics: GatewayMetrics,
        ends_at_s: float | None,
        max_in_flight: int,
        timeout_s: float,
    ) -> None:
        self._recommender = recommender
        self._metrics = metrics
        self._ends_at_s = ends_at_s
        self._timeout_s = timeout_s
        self._map = BoundedMap(self._answer, max_in_flight)

    def answers(
        self, requests: AsyncIterator[gateway_pb2.BatchRecommendRequest]
    ) -> AsyncIterator[gateway_pb2.BatchRecommendResponse]:
        """Answer requests as they come; one that fails is answered with its error."""
        return self._map.answers(requests)

    async def _answer(self, request: gateway_pb2.BatchRecommendRequest) -> gateway_pb2.BatchRecommendResponse:
        try:
            check_id("id", request.id)
            response = await self._recommend(request.request)
        except ShortlistError as error:
            return self._failed(request, grpc.StatusCode[error.status], str(error))
        except Exception:  # noqa: BLE001 - a fault with one request must not end the others
            _log.exception("a request of a batch failed", batch_request=request.id)
            return self._failed(request, grpc.StatusCode.INTERNAL, "internal error")
        self._metrics.count_batch_answer("OK")
        return gateway_pb2.BatchRecommendResponse(id=request.id, response=response)

    async def _recommend(self, message: gateway_pb2.RecommendRequest) -> gateway_pb2.RecommendResponse:
        request = replace(read_recommend_request(message), is_batch=True)
        result: RecommendResult | None = None
        while result is None:
            try:
                result = await self._recommender.recommend(request, self._remaining_s())
            except Overloaded as error:  # interactive calls have the room: wait for it as long as the call lasts
                if self._ends_at_s is not None and time.monotonic() + error.retry_after_s >= self._ends_at_s:
                    raise
                await asyncio.sleep(error.retry_after_s)
        self._metrics.observe_answer(result, request.stages)
        return write_recommend_response(result, request_id(), explain=message.explain, language=request.language)

    def _remaining_s(self) -> float:
        """Return the time of a request that starts now; raises DeadlineTooShort if the call has ended."""
        if self._ends_at_s is None:
            return self._timeout_s
        remaining_s = min(self._timeout_s, self._ends_at_s - time.monotonic())
        if remaining_s <= 0:
            raise DeadlineTooShort("no time was left of the call; send the request again in another one")
        return remaining_s

    def _failed(
        self, request: gateway_pb2.BatchRecommendRequest, code: grpc.StatusCode, message: str
    ) -> gateway_pb2.BatchRecommendResponse:
        self._metrics.count_batch_answer(code.name)
        error = gateway_pb2.BatchError(code=code.value[0], message=message)
        return gateway_pb2.BatchRecommendResponse(id=request.id, error=error)
