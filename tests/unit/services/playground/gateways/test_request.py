"""Requests as the page sends them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from shortlist.client.requests import recommend_request

from services.playground.gateways.request import AskedRequest


def test_every_part_reaches_the_contract():
    """Search, history, filter and policy become the request of the contract."""
    asked = AskedRequest.model_validate(
        {
            "user_id": "ann",
            "query": "tea",
            "history": ["1", "2"],
            "where": {"values": {"brand": ["a", "b"], "category": []}, "min_price": 1},
            "limit": 5,
            "keep_query": True,
            "rules": {"min_probability": 0.1, "max_per_brand": 2, "stages": "first", "blocked_item_ids": ["9"]},
        }
    )
    request = recommend_request(**asked.arguments(), explain=True)
    assert request.keep_query
    brand, price = request.filter.all_of.filters
    assert (request.user_id, request.query, list(request.history_item_ids), request.limit) == (
        "ann",
        "tea",
        ["1", "2"],
        5,
    )
    assert (brand.match.attribute, list(brand.match.values)) == ("brand", ["a", "b"])
    assert (price.range.min, price.range.HasField("max")) == (1, False)
    assert (request.policy.min_probability, request.policy.max_per_brand, request.policy.stages) == (0.1, 2, 2)
    assert list(request.policy.blocked_item_ids) == ["9"]
    assert not request.policy.HasField("min_long_tail_share")


def test_nothing_asked_is_no_filter():
    """Without conditions there is no filter."""
    assert AskedRequest().arguments()["where"] is None


@pytest.mark.parametrize("fault", [{"limt": 1}, {"limit": 0}, {"rules": {"stages": "third"}}, {"history": [""]}])
def test_mistakes_are_refused(fault: dict[str, object]):
    """Unknown names and values that the page never sends are refused, not ignored."""
    with pytest.raises(ValidationError):
        AskedRequest.model_validate(fault)
