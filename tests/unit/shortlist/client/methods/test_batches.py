"""Requests and answers of a batch, as callers see them."""

from __future__ import annotations

from shortlist.client import BatchAnswer, BatchRequest, Policy
from shortlist.client.methods.batches import batch_answer, batch_messages
from shortlist.gateway.v1 import gateway_pb2


def test_requests_are_messages_when_they_are_sent():
    """Nothing is taken ahead of what is sent; fields are those of `recommend`."""
    messages = batch_messages(iter([BatchRequest("a", "u1", "milk", ["x"], limit=3, policy=Policy(max_per_brand=2))]))
    (message,) = messages
    assert (message.id, message.request.user_id, message.request.query, message.request.limit) == ("a", "u1", "milk", 3)
    assert list(message.request.history_item_ids) == ["x"]
    assert message.request.policy.max_per_brand == 2


def test_an_answer_is_items_or_an_error():
    failed = gateway_pb2.BatchRecommendResponse(id="a", error=gateway_pb2.BatchError(code=3, message="limit: no"))
    assert batch_answer(failed) == BatchAnswer("a", None, 3, "limit: no")
    response = gateway_pb2.RecommendResponse(items=[gateway_pb2.RecommendedItem(item_id="x")])
    answered = batch_answer(gateway_pb2.BatchRecommendResponse(id="b", response=response))
    assert answered.recommendations is not None
    assert [item.item_id for item in answered.recommendations] == ["x"]
