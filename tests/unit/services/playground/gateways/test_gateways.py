"""Asking gateways through the client."""

from __future__ import annotations

import grpc
import pytest
from shortlist.client.fake import FakeGateway

from services.playground.gateways.gateways import Gateways, UnknownGateway
from services.playground.gateways.request import AskedRequest


async def test_the_named_gateway_answers(gateways: Gateways):
    """The gateway of the request answers, the first one if it names none; items have places."""
    first = await gateways.recommend(AskedRequest(limit=2))
    second = await gateways.recommend(AskedRequest(gateway="b", limit=2))
    assert [(item["item_id"], item["place"]) for item in first["items"]] == [("milk", 1), ("bread", 2)]
    assert (first["gateway"], second["gateway"]) == ("a", "b")
    assert second["items"][0]["item_id"] == "pear"
    assert first["took_ms"] > 0


async def test_a_failed_call_is_an_answer_too(gateways: Gateways, first: FakeGateway):
    """The failure says which gateway and why."""
    first.fail_next(grpc.StatusCode.INVALID_ARGUMENT, "filter: no attribute colour")
    found = await gateways.recommend(AskedRequest())
    assert found["failure"]["kind"] == "invalid"
    assert found["failure"]["details"] == "filter: no attribute colour"
    assert found["gateway"] == "a"


async def test_an_item_is_explained(gateways: Gateways):
    """Explain answers with the item's rank; an item that is no candidate is a failure."""
    assert (await gateways.explain(AskedRequest(), "bread"))["rank"] == 2
    assert (await gateways.explain(AskedRequest(), "towel"))["failure"]["kind"] == "not_found"


async def test_an_old_gateway_has_no_release(gateways: Gateways):
    """A gateway without the method is said to be too old."""
    assert (await gateways.release(""))["failure"]["kind"] == "too_old"


async def test_unknown_gateways_are_refused(gateways: Gateways):
    """The message lists those that there are."""
    with pytest.raises(UnknownGateway, match="there are a, b"):
        await gateways.recommend(AskedRequest(gateway="c"))


async def test_searches_are_suggested(gateways: Gateways, first: FakeGateway):
    """What is typed is completed; a gateway that fails suggests nothing, since the search is answered all the same."""
    assert await gateways.complete("", "mi", 5) == ["milk"]
    first.fail_next(grpc.StatusCode.UNIMPLEMENTED)
    assert await gateways.complete("", "mi", 5) == []
    with pytest.raises(UnknownGateway):
        await gateways.complete("c", "mi", 5)
