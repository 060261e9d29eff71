"""Responses that are written as messages."""

from __future__ import annotations

import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.catalogue.item import Item
from services.retrieval.server.response_messages import write_item


@pytest.mark.parametrize("price", [None, 0.0, 2.5])
def test_an_item_is_written_with_its_fields(price: float | None):
    """Every field but the vector is written; an unknown price stays unset, and a price of 0 does not."""
    item = Item("a", "title", "brand", "category", "description", price=price, available=False)
    message = write_item(item)
    assert message == retrieval_pb2.Item(
        item_id="a",
        title="title",
        brand="brand",
        category="category",
        description="description",
        price=price,
        available=False,
    )
    assert message.HasField("price") == (price is not None)
