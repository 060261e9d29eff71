"""Both clients' further methods against a server with the real contract."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.client import AsyncClient, BatchRequest, Client, NotFound, Unavailable
from shortlist.client.fake import FakeGateway
from shortlist.retrieval.v1 import retrieval_pb2

from testing.server_process import free_port


def test_items_near_an_item(client: Any):
    answer = client.similar_items("bread", exclude=["eggs"])
    assert [item.item_id for item in answer] == ["milk"]
    assert answer.items[0].sources == ("fake",)
    with pytest.raises(NotFound, match="tea"):
        client.similar_items("tea")


def test_a_cart_is_completed(client: Any):
    answer = client.related_to_cart(["bread", "tea"], limit=1)
    assert [item.item_id for item in answer] == ["milk"]
    assert answer.ignored_items == 1


def test_a_text_is_completed(client: Any):
    (suggestion,) = client.complete("mi")
    assert (suggestion.text, suggestion.kind, suggestion.item_id) == ("milk", "title", "milk")
    assert len(client.complete("x")) == 0


def test_values_are_counted(client: Any):
    answer = client.list_facets(["brand"], query="milk")
    assert [(facet.attribute, facet.values[0].items) for facet in answer.facets] == [("brand", 3)]
    assert answer.scope == retrieval_pb2.FACET_SCOPE_CANDIDATES


def test_a_batch_has_an_answer_for_each_request(gateway: FakeGateway):
    """Also for one that fails; requests may come from any iterable."""
    gateway.fail_next(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
    requests = (BatchRequest(f"r{at}", user_id=f"u{at}", limit=1) for at in range(3))
    with Client(gateway.target) as client:
        answers = {answer.id: answer for answer in client.batch_recommend(requests, timeout_s=30)}
    assert (answers["r0"].recommendations, answers["r0"].error_code, answers["r0"].error) == (None, 8, "no room")
    found = answers["r2"].recommendations
    assert found is not None
    assert [item.item_id for item in found] == ["milk"]
    assert {request.user_id for request in gateway.requests} == {"u1", "u2"}


async def test_a_batch_for_asyncio(gateway: FakeGateway):
    async with AsyncClient(gateway.target) as client:
        answers = [answer.id async for answer in client.batch_recommend([BatchRequest("a"), BatchRequest("b")])]
    assert answers == ["a", "b"]


def test_a_batch_that_cannot_be_sent_is_an_error():
    with Client(f"127.0.0.1:{free_port()}") as client, pytest.raises(Unavailable):
        list(client.batch_recommend([BatchRequest("a")], timeout_s=10))
