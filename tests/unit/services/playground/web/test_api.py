"""The methods of the page that ask gateways."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.client.fake import FakeGateway
from starlette.types import ASGIApp

from testing.web.asgi_call import call


async def _post(app: ASGIApp, name: str, value: Any) -> Any:
    answer = await call(app, f"/api/{name}", value)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_two_sides_are_compared(app: ASGIApp):
    """Both answers come with what moved, and why an item of the left one is absent on the right."""
    rules = {"blocked_item_ids": ["bread"]}
    found = await _post(app, "recommend", {"sides": [{"limit": 2}, {"gateway": "b", "limit": 2, "rules": rules}]})
    left, right = ([item["item_id"] for item in answer["items"]] for answer in found["answers"])
    assert (left, right) == (["milk", "bread"], ["pear", "milk"])
    comparison = found["comparison"]
    assert comparison["places"]["milk"] == {"left": 1, "right": 2}
    assert comparison["absent"] == {"bread": "blocked"}
    assert comparison["overlap"] == 1
    assert [set(codes) for codes in found["snippets"]] == [{"python", "node", "grpcurl"}] * 2


async def test_one_side_is_not_compared(app: ASGIApp):
    """A single request has an answer and no comparison."""
    found = await _post(app, "recommend", {"sides": [{}]})
    assert found["comparison"] is None
    assert len(found["answers"]) == 1


async def test_the_other_side_is_shown_if_one_fails(app: ASGIApp, second: FakeGateway):
    """A failed gateway does not take the other's answer with it."""
    second.fail_next(grpc.StatusCode.INVALID_ARGUMENT, "no such attribute")
    found = await _post(app, "recommend", {"sides": [{}, {"gateway": "b"}]})
    assert found["answers"][0]["items"]
    assert found["answers"][1]["failure"]["details"] == "no such attribute"
    assert found["comparison"] is None


@pytest.mark.parametrize(
    ("name", "value", "status", "named"),
    [
        ("recommend", {"sides": []}, 400, "sides"),
        ("recommend", {"sides": [{"limt": 1}]}, 400, "sides.0.limt"),
        ("recommend", {"sides": [{"rules": {"max_per_brand": -1}}]}, 400, "sides.0.rules.max_per_brand"),
        ("recommend", {"sides": [{"rules": {"max_per_category": 1 << 32}}]}, 400, "sides.0.rules.max_per_category"),
        ("recommend", {"sides": [{"where": {"max_price": float("nan")}}]}, 400, "sides.0.where.max_price"),
        ("recommend", {"sides": [{"gateway": "c"}]}, 404, "there are a, b"),
        ("explain", {"request": {}, "item_id": "towel"}, 404, "not among the candidates"),
        ("many-users", {"left": {}, "right": {}, "users": 101}, 400, "users"),
    ],
)
async def test_mistakes_are_named(app: ASGIApp, name: str, value: Any, status: int, named: str):
    """A wrong request is answered with what is wrong, in the form of a failed call."""
    answer = await call(app, f"/api/{name}", value)
    assert answer.status == status
    assert named in answer.json()["failure"]["details"]


async def test_items_are_found_for_a_history(app: ASGIApp, first: FakeGateway):
    """A search asks the first stage; no search asks for popular items; ids have titles where they are known."""
    found = await _post(app, "items", {"query": "milk"})
    assert found["items"][0] == {"item_id": "milk", "title": "milk", "brand": ""}
    assert first.requests[-1].policy.stages == 2
    await _post(app, "items", {})
    assert first.requests[-1].policy.stages == 3
    assert (await _post(app, "items", {"item_ids": ["x"]}))["items"] == [{"item_id": "x", "title": ""}]


async def test_searches_are_suggested(app: ASGIApp):
    """Suggestions come as texts."""
    assert (await call(app, "/api/complete?text=mi&gateway=b")).json() == {"texts": ["milk"]}


async def test_users_are_listed(app: ASGIApp):
    """Users come with their histories, found by a part of their id."""
    found = (await call(app, "/api/users?search=AN")).json()
    assert found == {"users": [{"user_id": "ann", "history": ["milk", "soap"]}], "of": 2}


async def test_many_users_are_compared(app: ASGIApp):
    """Every user of the list is compared."""
    found = await _post(app, "many-users", {"left": {}, "right": {"gateway": "b"}, "users": 2})
    assert {row["user_id"] for row in found["rows"]} == {"ann", "bob"}
    assert 0 < found["mean_rbo"] < 1


async def test_the_page_is_told_what_it_can_offer(app: ASGIApp, admin: dict[str, str]):
    """Gateways, users and votes are told, and whether the token is right."""
    found = (await call(app, "/api/config")).json()
    assert (found["gateways"], found["users"], found["local"], found["votes"]) == (["a", "b"], 2, False, True)
    assert (found["admin_is_possible"], found["is_admin"]) == (True, False)
    assert (await call(app, "/api/config", headers=admin)).json()["is_admin"]
