"""The latest requests, kept in memory."""

from __future__ import annotations

from services.gateway.recommendation.request import RecommendRequest
from services.gateway.server.methods.recent_requests import MAX_REQUESTS, RecentRequests


def test_only_the_latest_are_kept_and_a_users_can_be_dropped():
    """The oldest go first; those of a forgotten user go at once."""
    recent = RecentRequests()
    for at in range(MAX_REQUESTS + 3):
        recent.append(RecommendRequest(user_id=f"u{at % 2}", query=str(at)))
    assert [request.query for request in recent.latest()] == [str(at) for at in range(3, MAX_REQUESTS + 3)]
    recent.forget_user("u0")
    assert {request.user_id for request in recent.latest()} == {"u1"}
