"""The methods for product pages, carts, search boxes and filters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.server.telemetry import request_id
from services.gateway.recommendation.deadline import Deadline, DeadlineShares
from services.gateway.related_items.plan import RELATED_TO_CART, SIMILAR_ITEMS
from services.gateway.server.components import BatchOptions, Components
from services.gateway.server.methods import related_items
from services.gateway.server.metrics import GatewayMetrics


class BrowsingMethods:
    """Methods of the contract's RecommendationService that need the first stage alone.

    Args:
        components: Returns the components; raises NotReady before the gateway has started.
        metrics: Counts the answers.
        timeout_s: The longest that a call may take, even if its deadline is later.
        shares: The time of calls without a deadline, and how it is divided.
        candidates: How many candidates facets are counted over, if a request does not say.
        batches: The bounds of calls of BatchRecommend.
    """

    def __init__(
        self,
        components: Callable[[], Components],
        metrics: GatewayMetrics,
        timeout_s: float,
        shares: DeadlineShares,
        candidates: int,
        batches: BatchOptions,
    ) -> None:
        self._components = components
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._shares = shares
        self._candidates = candidates
        self._batches = batches

    async def SimilarItems(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.SimilarItemsRequest, context: Any
    ) -> gateway_pb2.SimilarItemsResponse:
        """Find items near an item."""
        finder, wanted = self._components().related_items, related_items.read_similar_items(request)
        result = await finder.find(SIMILAR_ITEMS, wanted, self._stage_timeout_s(context))
        self._metrics.observe_related(SIMILAR_ITEMS, result)
        return related_items.write_similar_items(request, result, request_id())

    async def RelatedToCart(  # noqa: N802
        self, request: gateway_pb2.RelatedToCartRequest, context: Any
    ) -> gateway_pb2.RelatedToCartResponse:
        """Find items that complete a cart."""
        finder, wanted = self._components().related_items, related_items.read_related_to_cart(request)
        result = await finder.find(RELATED_TO_CART, wanted, self._stage_timeout_s(context))
        self._metrics.observe_related(RELATED_TO_CART, result)
        return related_items.write_related_to_cart(request, result, request_id())

    async def Complete(  # noqa: N802
        self, request: gateway_pb2.CompleteRequest, context: Any
    ) -> gateway_pb2.CompleteResponse:
        """Complete what a user types; retrieval checks the request."""
        limit = request.limit if request.HasField("limit") else None
        asked = retrieval_pb2.CompleteRequest(text=request.text, limit=limit)
        answer = await self._components().catalogue.complete(asked, self._stage_timeout_s(context))
        return gateway_pb2.CompleteResponse(
            suggestions=answer.suggestions, release_id=answer.release_id, request_id=request_id()
        )

    async def ListFacets(  # noqa: N802
        self, request: gateway_pb2.ListFacetsRequest, context: Any
    ) -> gateway_pb2.ListFacetsResponse:
        """Count the values of attributes; retrieval checks the request."""
        asked = retrieval_pb2.ListFacetsRequest(
            query=request.query,
            filter=request.filter if request.HasField("filter") else None,
            attributes=request.attributes,
            max_values=request.max_values if request.HasField("max_values") else None,
            max_buckets=request.max_buckets if request.HasField("max_buckets") else None,
            candidates=request.candidates if request.HasField("candidates") else self._candidates,
        )
        answer = await self._components().catalogue.list_facets(asked, self._stage_timeout_s(context))
        return gateway_pb2.ListFacetsResponse(
            facets=answer.facets,
            scope=answer.scope,
            items=answer.items,
            release_id=answer.release_id,
            request_id=request_id(),
        )

    def _remaining_s(self, context: Any) -> float | None:
        remaining_s = context.time_remaining()
        return None if remaining_s is None else min(float(remaining_s), self._timeout_s)

    def _stage_timeout_s(self, context: Any) -> float:
        """Return the time that retrieval may take."""
        now_s = time.monotonic()
        return Deadline.from_remaining(now_s, self._remaining_s(context), self._shares).timeout_s(now_s, 1.0)
