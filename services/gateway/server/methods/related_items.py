"""The messages of SimilarItems and RelatedToCart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest, NotFound
from common.server.filter_messages import read_filter
from services.gateway.recommendation.reason_texts import texts_of
from services.gateway.related_items.related_items import RelatedItem, RelatedItemsRequest, RelatedItemsResult
from services.gateway.server.request_messages import (
    check_id,
    check_ids,
    read_country,
    read_language,
    read_limit,
    read_placement,
)
from services.gateway.server.response_messages import MAX_STEPS, write_degradation, write_reason, write_step

MAX_CART: Final = 1_000
MAX_EXCLUDED: Final = 10_000


def read_similar_items(request: gateway_pb2.SimilarItemsRequest) -> RelatedItemsRequest:
    """Return a SimilarItemsRequest as a value; raises InvalidRequest."""
    check_id("item_id", request.item_id)
    return _read([request.item_id], request)


def read_related_to_cart(request: gateway_pb2.RelatedToCartRequest) -> RelatedItemsRequest:
    """Return a RelatedToCartRequest as a value; raises InvalidRequest."""
    if not request.item_ids:
        raise InvalidRequest(f"item_ids: the cart is empty; give 1 to {MAX_CART:,} items, or call Recommend")
    check_ids("item_ids", request.item_ids, MAX_CART)
    if "" in request.item_ids:
        raise InvalidRequest(f"item_ids[{list(request.item_ids).index('')}]: must be set")
    return _read(list(request.item_ids), request)


def write_similar_items(
    request: gateway_pb2.SimilarItemsRequest, result: RelatedItemsResult, request_id: str
) -> gateway_pb2.SimilarItemsResponse:
    """Return the answer; raises NotFound if the given item is unknown."""
    if result.ignored_items:
        raise NotFound(f"item_id: release {result.release_id} does not have {request.item_id!r}")
    items = [_item(item, explain=request.explain) for item in result.items]
    return gateway_pb2.SimilarItemsResponse(
        items=items,
        release_id=result.release_id,
        request_id=request_id,
        rules_version=result.rules_version,
        degradations=map(write_degradation, result.degradations),
        policy_steps=map(write_step, result.steps[:MAX_STEPS]) if request.explain else (),
        language=texts_of(request.language).language if request.explain else "",
    )


def write_related_to_cart(
    request: gateway_pb2.RelatedToCartRequest, result: RelatedItemsResult, request_id: str
) -> gateway_pb2.RelatedToCartResponse:
    """Return the answer."""
    return gateway_pb2.RelatedToCartResponse(
        items=[_item(item, explain=request.explain) for item in result.items],
        release_id=result.release_id,
        request_id=request_id,
        ignored_items=result.ignored_items,
        rules_version=result.rules_version,
        degradations=map(write_degradation, result.degradations),
        policy_steps=map(write_step, result.steps[:MAX_STEPS]) if request.explain else (),
        language=texts_of(request.language).language if request.explain else "",
    )


def _read(
    item_ids: Sequence[str], request: gateway_pb2.SimilarItemsRequest | gateway_pb2.RelatedToCartRequest
) -> RelatedItemsRequest:
    check_ids("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED)
    return RelatedItemsRequest(
        item_ids,
        read_filter(request.filter) if request.HasField("filter") else None,
        list(request.exclude_item_ids),
        read_limit(request),
        read_country(request.country),
        read_placement(request.placement),
        read_language(request.language),
    )


def _item(item: RelatedItem, *, explain: bool) -> gateway_pb2.RelatedItem:
    candidate = item.candidate
    return gateway_pb2.RelatedItem(
        item_id=candidate.item_id,
        score=item.score,
        sources=[retrieval_pb2.SourceScore(source=name, score=score) for name, score in candidate.sources],
        reasons=[write_reason(reason) for reason in item.reasons] if explain else (),
        title=candidate.title,
        brand=candidate.brand,
        category=candidate.category,
        price=candidate.price,
    )
