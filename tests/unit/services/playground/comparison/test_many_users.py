"""Two requests over many users."""

from __future__ import annotations

import grpc
from shortlist.client.fake import FakeGateway

from services.playground.comparison.many_users import compare_users
from services.playground.comparison.users import User
from services.playground.gateways.gateways import Gateways
from services.playground.gateways.request import AskedRequest, Rules

USERS = [User("ann", ("milk",)), User("bob", ())]


async def test_users_are_compared_by_their_own_history(gateways: Gateways, first: FakeGateway):
    """Each user is asked for on both sides with the user's history; the most different come first."""
    left = AskedRequest(user_id="ignored", limit=3)
    right = AskedRequest(limit=3, rules=Rules(exclude_history=True))
    found = await compare_users(gateways, left, right, USERS)
    assert [row["user_id"] for row in found["rows"]] == ["ann", "bob"]
    assert (found["rows"][0]["overlap"], found["rows"][1]["rbo"]) == (2, 1)
    assert found["mean_overlap"] == 2.5
    assert found["failed"] == 0
    assert {(request.user_id, tuple(request.history_item_ids)) for request in first.requests} == {
        ("", ("milk",)),
        ("", ()),
    }


async def test_failures_are_counted_and_left_out_of_the_means(gateways: Gateways, second: FakeGateway):
    """A user whose call failed is listed last with the failure."""
    second.fail_next(grpc.StatusCode.INVALID_ARGUMENT, "no", times=2)
    found = await compare_users(gateways, AskedRequest(), AskedRequest(gateway="b"), USERS)
    assert found["failed"] == 2
    assert found["mean_rbo"] is None
    assert {row["failure"]["kind"] for row in found["rows"]} == {"invalid"}
