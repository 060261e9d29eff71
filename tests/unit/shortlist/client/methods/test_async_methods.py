"""Both clients' further methods against a server with the real contract."""

from __future__ import annotations

from typing import Any

import pytest
from shortlist.client import NotFound
from shortlist.retrieval.v1 import retrieval_pb2


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
