"""What the stages are told of a user, and what a request leaves out of it."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from common.release.event_weights import EventKind
from services.gateway.backends.stages import RetrievalResult, UserInput
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Profile, Search
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.user_input import as_searched, excluded_items, join_history, recent_query

VIEW, PURCHASE = EventKind.VIEW, EventKind.PURCHASE
PROFILE = Profile(["a", "b"], None, (VIEW, PURCHASE), (1_000_000, 3_500_000))
USER = UserInput("", ["a", "b", "c", "d", "e"], [VIEW, PURCHASE, 0, EventKind.CART, EventKind.RATING])


def test_the_second_stage_is_told_the_repaired_query():
    """Only the query is another, and only if the first stage searched for another."""
    user = UserInput("mlik", ["a"], [VIEW], [3.0])
    assert as_searched(user, RetrievalResult([], "r1", corrected_query="milk")) == UserInput(
        "milk", ["a"], [VIEW], [3.0]
    )
    assert as_searched(user, RetrievalResult([], "r1")) is user


def test_recorded_and_given_events_are_joined():
    """The request's own items follow; what it does not say of them is unknown, and ages are counted from now."""
    user = join_history("tea", PROFILE, RecommendRequest(history=("c",)), 4_000_000)
    assert (user.query, list(user.history), list(user.history_kinds)) == ("tea", ["a", "b", "c"], [VIEW, PURCHASE, 0])
    assert list(user.history_ages_s)[:2] == [3.0, 0.5]
    assert math.isnan(user.history_ages_s[2])


def test_what_the_request_says_of_its_items_is_passed_on():
    """Kinds and ages of the request follow those of the profile; an event of the future has no negative age."""
    request = RecommendRequest(history=("c", "d"), history_kinds=(VIEW, 0), history_ages_s=(7.0, 1.0))
    user = join_history("", PROFILE, request, 2_000_000)
    assert list(user.history_kinds) == [VIEW, PURCHASE, VIEW, 0]
    assert list(user.history_ages_s) == [1.0, 0.0, 7.0, 1.0]


def test_a_request_without_kinds_stays_without():
    """Callers that name no kinds send what they always did."""
    assert join_history("", Profile(), RecommendRequest(history=("c",)), 0) == UserInput("", ["c"])


@pytest.mark.parametrize(
    ("rule", "left_out"),
    [
        ({}, []),
        ({"exclude_history": True}, ["a", "b", "c", "d", "e"]),
        ({"exclude_purchased": True}, ["b", "c", "e"]),
    ],
)
def test_a_viewed_item_was_not_bought(rule: dict[str, Any], left_out: list[str]):
    """`exclude_purchased` leaves out what was bought, rated or of unknown kind; what was looked at stays."""
    assert list(excluded_items(RecommendRequest(**rule), USER)) == left_out


def test_items_of_unknown_kind_count_as_bought():
    """Without kinds the whole history counts as bought."""
    assert list(excluded_items(RecommendRequest(exclude_purchased=True), UserInput("", ["a"]))) == ["a"]


async def test_bought_items_are_left_out_and_viewed_ones_recommended(gateway: Any):
    """Of two items of the history, the answer has the viewed one alone; both stages know the kinds."""
    request = RecommendRequest(
        history=("i29", "i28"), history_kinds=(PURCHASE, VIEW), exclude_purchased=True, policy=Policy(limit=1)
    )
    answer = await gateway.recommend(request)
    assert [item.candidate.item_id for item in answer.items] == ["i28"]
    assert list(gateway.retrieval.request.history_kinds) == [PURCHASE, VIEW]
    assert list(gateway.ranking.users[0].history_kinds) == [PURCHASE, VIEW]


def test_a_search_is_the_query_for_a_while():
    """A recent search is used, an old one and none are not."""
    now_us = int(time.time() * 1e6)
    assert recent_query(Search("tea", now_us), 60.0) == "tea"
    assert recent_query(Search("tea", now_us - 61_000_000), 60.0) == ""
    assert recent_query(None, 60.0) == ""
