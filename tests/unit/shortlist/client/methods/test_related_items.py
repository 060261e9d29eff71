"""Items near given items, as callers see them."""

from __future__ import annotations

from shortlist.client.methods.related_items import related_items
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2


def test_an_answer_is_plain_values():
    """Iterating yields items; a price that is not set is None, sources and reasons are texts."""
    message = gateway_pb2.RelatedToCartResponse(
        items=[
            gateway_pb2.RelatedItem(
                item_id="a",
                title="A",
                score=0.5,
                sources=[retrieval_pb2.SourceScore(source="follow", score=2.0)],
                reasons=[gateway_pb2.Reason(text="often chosen with it")],
            ),
            gateway_pb2.RelatedItem(item_id="b", price=2.5),
        ],
        release_id="r1",
        request_id="q1",
        ignored_items=3,
    )
    answer = related_items(message)
    assert [item.item_id for item in answer] == ["a", "b"]
    assert (len(answer), answer.release_id, answer.request_id, answer.ignored_items) == (2, "r1", "q1", 3)
    first, second = answer.items
    assert (first.price, first.sources, first.reasons, first.score) == (
        None,
        ("follow",),
        ("often chosen with it",),
        0.5,
    )
    assert second.price == 2.5
    assert first.message == message.items[0]


def test_what_was_not_applied_is_in_the_answer():
    """Degradations and the language of the reasons are those of the message."""
    degradation = gateway_pb2.Degradation(kind=gateway_pb2.DEGRADATION_KIND_RULES_NOT_APPLIED, detail="why")
    answer = related_items(gateway_pb2.SimilarItemsResponse(degradations=[degradation], language="zh"))
    assert [(each.kind, each.detail) for each in answer.degradations] == [("rules_not_applied", "why")]
    assert answer.language == "zh"
