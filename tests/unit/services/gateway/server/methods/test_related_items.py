"""SimilarItems and RelatedToCart through a gateway over fake services."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient


async def _similar(client: GatewayClient, **fields: Any) -> gateway_pb2.SimilarItemsResponse:
    request = gateway_pb2.SimilarItemsRequest(**fields)
    response: gateway_pb2.SimilarItemsResponse = await client.recommendations.SimilarItems(request, timeout=10)
    return response


async def _related(client: GatewayClient, **fields: Any) -> gateway_pb2.RelatedToCartResponse:
    request = gateway_pb2.RelatedToCartRequest(**fields)
    response: gateway_pb2.RelatedToCartResponse = await client.recommendations.RelatedToCart(request, timeout=10)
    return response


async def test_a_product_page(client: GatewayClient):
    """Items near an item have their sources; reasons only on request. What both lists found comes first."""
    answer = await _similar(client, item_id="item-0", exclude_item_ids=["item-2"], limit=3)
    assert [item.item_id for item in answer.items] == ["item-4", "item-6", "item-8"]
    assert [each.source for each in answer.items[0].sources] == ["behaviour", "similar"]
    assert (answer.items[0].title, answer.items[0].price, answer.release_id) == ("title 4", 4.0, "r1")
    assert answer.request_id
    assert not answer.items[0].reasons
    explained = await _similar(client, item_id="item-0", limit=1, explain=True)
    assert [reason.kind for reason in explained.items[0].reasons] == [
        gateway_pb2.REASON_KIND_SIMILAR,
        gateway_pb2.REASON_KIND_BEHAVIOUR,
    ]
    text = await client.metrics()
    assert 'shortlist_gateway_related_items_count{plan="similar_items"} 2.0' in text
    assert 'shortlist_gateway_related_items_found_total{plan="similar_items",source="similar"} 4.0' in text


async def test_a_cart_is_completed(client: GatewayClient, backends: Backends):
    """Complements come first, items of the cart never, unknown ones are counted."""
    filter_ = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["brand-0"]))
    answer = await _related(client, item_ids=["item-2", "strange"], filter=filter_, limit=30, explain=True)
    ids = [item.item_id for item in answer.items]
    assert ids[:3] == ["item-0", "item-4", "item-6"]
    assert ids[19:21] == ["item-1", "item-3"]  # after all 19 complements
    assert "item-2" not in ids
    assert answer.ignored_items == 1
    assert answer.items[0].reasons[0].text == "often chosen with items of the cart"
    assert all(each.filter == filter_ for each in backends.retrieval.requests[-1].requests)


async def test_an_unknown_item_is_not_found(client: GatewayClient):
    """The answer to an item that the shop does not have is an error that names it."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _similar(client, item_id="strange")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "'strange'" in str(raised.value.details())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"item_ids": []}, "item_ids: the cart is empty"),
        ({"item_ids": ["a", ""]}, "item_ids[1]: must be set"),
        ({"item_ids": ["a"] * 1_001}, "item_ids: 1,001 ids"),
        ({"item_ids": ["a"], "limit": 0}, "limit: must be 1 to 500"),
        ({"item_ids": ["a"], "exclude_item_ids": ["b"] * 10_001}, "exclude_item_ids: 10,001 ids"),
        ({"item_ids": ["a"], "filter": retrieval_pb2.Filter()}, "filter"),
    ],
)
async def test_a_bad_request_names_its_field(client: GatewayClient, fields: dict[str, Any], said: str):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _related(client, **fields)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in str(raised.value.details())


async def test_the_item_must_be_given(client: GatewayClient):
    with pytest.raises(grpc.aio.AioRpcError, match="item_id: must be set"):
        await _similar(client)


async def test_without_retrieval_there_is_no_answer(client: GatewayClient, backends: Backends):
    """Popular items are near nothing, so nothing replaces retrieval."""
    backends.retrieval.status = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _similar(client, item_id="item-0")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
