"""The contract's limits on requests."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import gateway_pb2

from common.errors import InvalidRequest
from common.release.event_weights import EventKind
from common.text import normalised
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Event
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.server.request_messages import read_events, read_recommend_request, read_user_id

_NOW_US = 1_800_000_000_000_000
_DAY_S = 86_400


def _recommend(**fields: object) -> gateway_pb2.RecommendRequest:
    return gateway_pb2.RecommendRequest(**fields)  # type: ignore[arg-type]  # each test names its own


def _policy(**fields: object) -> gateway_pb2.RecommendRequest:
    return _recommend(policy=gateway_pb2.Policy(**fields))  # type: ignore[arg-type]


def _event(**fields: object) -> gateway_pb2.RecordEventsRequest:
    given = {"event_id": "e", "user_id": "u", "kind": gateway_pb2.EVENT_KIND_VIEW, "item_id": "i", **fields}
    return gateway_pb2.RecordEventsRequest(events=[gateway_pb2.Event(**given)])  # type: ignore[arg-type]


def test_an_empty_request_asks_for_what_anybody_might_want():
    """Nothing is required; ten items, both stages and no restriction are the default."""
    assert read_recommend_request(gateway_pb2.RecommendRequest()) == RecommendRequest(policy=Policy(limit=10))


def test_a_full_request_is_read():
    """Every field of the request reaches what is asked."""
    ask = read_recommend_request(
        _recommend(
            user_id="ann",
            query=" soft cheese ",
            history_item_ids=["a", "b", "a"],
            limit=500,
            policy=gateway_pb2.Policy(
                min_probability=0.25,
                blocked_item_ids=["x"],
                max_per_brand=2,
                max_per_category=3,
                exclude_history=True,
                stages=gateway_pb2.STAGES_FIRST,
                min_long_tail_share=0.5,
            ),
        )
    )
    assert ask == RecommendRequest(
        user_id="ann",
        query="soft cheese",
        history=("a", "b", "a"),
        policy=Policy(500, 0.25, frozenset({"x"}), 2, 3, 0.5),
        exclude_history=True,
        stages=Stages.FIRST,
    )


@pytest.mark.parametrize(
    "request_at_limit",
    [
        _recommend(user_id="é" * 128),
        _recommend(query="é" * 1_000),
        _recommend(history_item_ids=["i"] * 10_000),
        _recommend(limit=1),
        _policy(min_probability=1.0),
        _policy(min_long_tail_share=1.0),
        _policy(blocked_item_ids=["i"] * 10_000),
        _policy(max_per_brand=1),
    ],
)
def test_requests_at_the_limits_are_read(request_at_limit: gateway_pb2.RecommendRequest):
    """What the contract just allows is allowed."""
    read_recommend_request(request_at_limit)


@pytest.mark.parametrize(
    ("request_beyond", "expected"),
    [
        (_recommend(user_id="é" * 129), r"^user_id: 258 bytes; at most 256 are allowed"),
        (_recommend(query="é" * 1_001), r"^query: 1,001 characters; at most 1,000 are allowed"),
        (_recommend(history_item_ids=["i"] * 10_001), r"^history_item_ids: 10,001 ids; at most 10,000 are allowed"),
        (_recommend(limit=0), r"^limit: must be 1 to 500, is 0; leave it unset for 10"),
        (_recommend(limit=501), r"^limit: must be 1 to 500, is 501"),
        (_policy(min_probability=1.01), r"^policy\.min_probability: must be 0 to 1, is 1\.01"),
        (_policy(min_probability=-0.01), r"^policy\.min_probability"),
        (_policy(min_probability=float("nan")), r"^policy\.min_probability: .* is nan"),
        (_policy(min_long_tail_share=1.01), r"^policy\.min_long_tail_share: must be 0 to 1, is 1\.01"),
        (_policy(min_long_tail_share=float("nan")), r"^policy\.min_long_tail_share: .* is nan"),
        (_policy(diversity=-0.1), r"^policy\.diversity: must be 0 to 1, is -0\.1"),
        (_policy(min_new_item_share=2.0), r"^policy\.min_new_item_share: must be 0 to 1, is 2"),
        (_policy(blocked_item_ids=["i"] * 10_001), r"^policy\.blocked_item_ids: 10,001 ids; at most 10,000"),
        (_policy(max_per_brand=0), r"^policy\.max_per_brand: must be at least 1"),
        (_policy(max_per_category=0), r"^policy\.max_per_category: must be at least 1"),
        (_policy(stages=9), r"^policy\.stages: 9 is not a known value"),
    ],
)
def test_requests_beyond_the_limits_are_refused(request_beyond: gateway_pb2.RecommendRequest, expected: str):
    """What the contract forbids is refused, naming the field and what it was."""
    with pytest.raises(InvalidRequest, match=expected):
        read_recommend_request(request_beyond)


def test_a_share_of_none_is_not_a_share_left_unset():
    """A request that asks for no tail says so, though the server's setting might ask for some."""
    assert read_recommend_request(_policy(min_long_tail_share=0.0)).policy.min_long_tail_share == 0.0
    assert read_recommend_request(_policy()).policy.min_long_tail_share is None


def test_an_event_is_read():
    """Every field of an event is kept, its time in microseconds."""
    request = _event(
        kind=gateway_pb2.EVENT_KIND_RATING, value=4.5, query="tea", occurred_at=Timestamp(seconds=5, nanos=6_999)
    )
    assert read_events(request, _NOW_US) == [Event("e", "u", EventKind.RATING, 5_000_006, "i", "tea", 4.5)]


def test_a_search_needs_no_item():
    """An event that searches has a query in place of an item; without a time it is now."""
    request = _event(kind=gateway_pb2.EVENT_KIND_SEARCH, item_id="", query="tea")
    assert read_events(request, _NOW_US) == [Event("e", "u", EventKind.SEARCH, _NOW_US, "", "tea")]


def test_a_day_ahead_is_allowed_and_counts_as_now():
    """Clocks differ: an event may lie up to a day ahead; it must not hide what follows until then."""
    request = _event(occurred_at=Timestamp(seconds=_NOW_US // 1_000_000 + _DAY_S))
    assert read_events(request, _NOW_US)[0].occurred_at_us == _NOW_US


@pytest.mark.parametrize(
    ("request_beyond", "expected"),
    [
        (gateway_pb2.RecordEventsRequest(), r"^events: 0 events; give 1 to 1,000 in one call"),
        (gateway_pb2.RecordEventsRequest(events=[gateway_pb2.Event()] * 1_001), r"^events: 1,001 events"),
        (_event(event_id=""), r"^events\[0\]\.event_id: must be set"),
        (_event(event_id="x" * 257), r"^events\[0\]\.event_id: 257 bytes; at most 256"),
        (_event(user_id=""), r"^events\[0\]\.user_id: must be set"),
        (_event(user_id="x" * 257), r"^events\[0\]\.user_id"),
        (_event(kind=gateway_pb2.EVENT_KIND_UNSPECIFIED), r"^events\[0\]\.kind"),
        (_event(kind=77), r"^events\[0\]\.kind"),
        (_event(item_id=""), r"^events\[0\]\.item_id: must be set"),
        (_event(item_id="x" * 257), r"^events\[0\]\.item_id"),
        (_event(kind=gateway_pb2.EVENT_KIND_SEARCH, query=" "), r"^events\[0\]\.query: must be set for a search"),
        (_event(query="x" * 1_001), r"^events\[0\]\.query: 1,001 characters"),
        (
            _event(occurred_at=Timestamp(seconds=_NOW_US // 1_000_000 + _DAY_S + 1)),
            r"occurred_at: must be at most a day",
        ),
        (_event(occurred_at=Timestamp(seconds=2**62)), r"^events\[0\]\.occurred_at: must be a time"),
        (_event(occurred_at=Timestamp(nanos=-1)), r"^events\[0\]\.occurred_at: must be a time"),
        (_event(value=float("inf")), r"^events\[0\]\.value: must be a finite number, is inf"),
        (_event(value=float("nan")), r"^events\[0\]\.value"),
    ],
)
def test_events_beyond_the_limits_are_refused(request_beyond: gateway_pb2.RecordEventsRequest, expected: str):
    """What the contract forbids of an event is refused, naming its position and field."""
    with pytest.raises(InvalidRequest, match=expected):
        read_events(request_beyond, _NOW_US)


def test_the_bad_event_is_named_by_its_position():
    """The message says which of the events is wrong."""
    good = _event().events[0]
    with pytest.raises(InvalidRequest, match=r"^events\[2\]\.user_id"):
        read_events(gateway_pb2.RecordEventsRequest(events=[good, good, gateway_pb2.Event(event_id="e", kind=1)]), 0)


@pytest.mark.parametrize("user_id", ["", "x" * 257])
def test_whom_to_forget_must_be_said(user_id: str):
    """Forgetting needs a user's id of the contract's length."""
    with pytest.raises(InvalidRequest, match=r"^user_id"):
        read_user_id(gateway_pb2.ForgetUserRequest(user_id=user_id))


def test_queries_are_plain():
    """Markup and entities leave queries; a search for nothing but tags is one without a query."""
    assert read_recommend_request(_recommend(query="<b>tea</b> &amp; R&D")).query == "tea & R&D"
    search = {"kind": gateway_pb2.EVENT_KIND_SEARCH, "item_id": ""}
    assert read_events(_event(query="<b>tea</b>", **search), _NOW_US)[0].query == "tea"
    with pytest.raises(InvalidRequest, match=r"events\[0\]\.query: must be set for a search"):
        read_events(_event(query="<br>", **search), _NOW_US)


def test_queries_are_read_in_normal_form():
    """Full-width letters, characters that are not seen and doubled spaces are read as `common.text.normalised` says."""
    query = " ｇｒｅｅｎ\u200b  Tea "
    assert read_recommend_request(_recommend(query=query)).query == normalised(query) == "green Tea"
    longest = read_recommend_request(_recommend(query="\ufdfa" * 1_000)).query  # 18 letters each in normal form
    assert 990 < len(longest) <= 1_000
