"""Reads requests and checks them against the contract; errors name the field and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2

from common.errors import InvalidRequest
from common.markup import plain_text
from common.release.event_weights import EventKind, check_kinds
from common.server.filter_messages import read_filter
from common.text import MAX_QUERY_CHARACTERS, normalised
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Event
from services.gateway.recommendation.request import RecommendRequest, Stages

MAX_LIMIT: Final = 500
MAX_HISTORY: Final = 10_000
MAX_BLOCKED: Final = 10_000
MAX_EVENTS: Final = 1_000
MAX_ID_BYTES: Final = 256
MAX_LANGUAGE_BYTES: Final = 35  # the longest that RFC 5646 asks programs to take
MAX_PLACEMENT_BYTES: Final = 64
_DEFAULT_LIMIT: Final = 10
_DAY_US: Final = 86_400_000_000
RequestWithLimit = gateway_pb2.RecommendRequest | gateway_pb2.SimilarItemsRequest | gateway_pb2.RelatedToCartRequest

_COUNTRY: Final = re.compile("[A-Z]{2}")
# Years 1 to 9999, the range of a Timestamp.
_TIMESTAMP_SECONDS: Final = (-62_135_596_800, 253_402_300_799)
_NANOS: Final = 1_000_000_000

_STAGES: Final = {
    gateway_pb2.STAGES_UNSPECIFIED: Stages.BOTH,
    gateway_pb2.STAGES_BOTH: Stages.BOTH,
    gateway_pb2.STAGES_FIRST: Stages.FIRST,
    gateway_pb2.STAGES_POPULAR: Stages.POPULAR,
}


def read_recommend_request(request: gateway_pb2.RecommendRequest) -> RecommendRequest:
    """Return a RecommendRequest as a value; raises InvalidRequest."""
    check_id("user_id", request.user_id, required=False)
    query = plain_query("query", request.query)
    history = tuple(request.history_item_ids)
    check_ids("history_item_ids", history, MAX_HISTORY)
    check_kinds("history_kinds", request.history_kinds, len(history))
    _check_ages(request)
    return RecommendRequest(
        user_id=request.user_id,
        is_batch=_is_batch(request),
        query=query,
        history=history,
        history_kinds=tuple(request.history_kinds),
        history_ages_s=tuple(request.history_ages_s),
        filter=read_filter(request.filter) if request.HasField("filter") else None,
        policy=_policy(request),
        exclude_history=request.policy.exclude_history,
        exclude_purchased=request.policy.exclude_purchased,
        stages=_stages(request.policy),
        keep_query=request.keep_query,
        placement=read_placement(request.placement),
        country=read_country(request.country),
        language=read_language(request.language),
    )


def read_events(request: gateway_pb2.RecordEventsRequest, now_us: int) -> Sequence[Event]:
    """Return the events of a RecordEventsRequest that arrived at ``now_us`` (microseconds since 1970).

    Raises:
        InvalidRequest: An event violates the contract; the message names its position.
    """
    if not 1 <= len(request.events) <= MAX_EVENTS:
        raise InvalidRequest(f"events: {len(request.events):,} events; give 1 to {MAX_EVENTS:,} in one call")
    return [_event(message, f"events[{at}]", now_us) for at, message in enumerate(request.events)]


def read_item_id(request: gateway_pb2.ExplainRequest) -> str:
    """Return the id of the item to explain; raises InvalidRequest."""
    check_id("item_id", request.item_id)
    return request.item_id


def read_user_id(request: gateway_pb2.ForgetUserRequest) -> str:
    """Return the id of the user to forget; raises InvalidRequest."""
    check_id("user_id", request.user_id)
    return request.user_id


def _policy(request: gateway_pb2.RecommendRequest) -> Policy:
    policy = request.policy
    check_ids("policy.blocked_item_ids", policy.blocked_item_ids, MAX_BLOCKED)
    return Policy(
        limit=read_limit(request),
        min_probability=_share("min_probability", policy.min_probability),
        blocked=frozenset(policy.blocked_item_ids),
        max_per_brand=_cap(policy, "max_per_brand"),
        max_per_category=_cap(policy, "max_per_category"),
        min_long_tail_share=_optional_share(policy, "min_long_tail_share"),
        keep_duplicates=policy.keep_duplicates,
        diversity=_optional_share(policy, "diversity"),
        min_new_item_share=_optional_share(policy, "min_new_item_share"),
    )


def _is_batch(request: gateway_pb2.RecommendRequest) -> bool:
    if request.priority not in ranking_pb2.Priority.values():
        raise InvalidRequest(f"priority: {request.priority} is no priority; use PRIORITY_INTERACTIVE or PRIORITY_BATCH")
    return request.priority == ranking_pb2.PRIORITY_BATCH


def _check_ages(request: gateway_pb2.RecommendRequest) -> None:
    ages, items = request.history_ages_s, len(request.history_item_ids)
    if ages and len(ages) != items:
        raise InvalidRequest(f"history_ages_s: {len(ages):,} given for {items:,} items; give one for each, or none")
    for number, age_s in enumerate(ages):
        if age_s < 0 or math.isinf(age_s):
            raise InvalidRequest(f"history_ages_s[{number}]: must be at least 0 and finite, or NaN, is {age_s}")


def read_limit(request: RequestWithLimit) -> int:
    """Return how many items a request wants; raises InvalidRequest."""
    if not request.HasField("limit"):
        return _DEFAULT_LIMIT
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidRequest(
            f"limit: must be 1 to {MAX_LIMIT}, is {request.limit}; leave it unset for {_DEFAULT_LIMIT}"
        )
    return request.limit


def _optional_share(policy: gateway_pb2.Policy, name: str) -> float | None:
    if not policy.HasField(name):  # type: ignore[arg-type]  # the stubs allow only literal names
        return None
    return _share(name, getattr(policy, name))


def _share(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise InvalidRequest(f"policy.{name}: must be 0 to 1, is {value}")
    return value


def _cap(policy: gateway_pb2.Policy, name: str) -> int | None:
    if not policy.HasField(name):  # type: ignore[arg-type]  # the stubs allow only literal names
        return None
    cap = int(getattr(policy, name))
    if cap == 0:
        raise InvalidRequest(f"policy.{name}: must be at least 1; leave it unset for no limit")
    return cap


def _stages(policy: gateway_pb2.Policy) -> Stages:
    if policy.stages not in _STAGES:
        raise InvalidRequest(
            f"policy.stages: {policy.stages} is not a known value; use STAGES_BOTH, STAGES_FIRST or STAGES_POPULAR"
        )
    return _STAGES[policy.stages]


def _event(message: gateway_pb2.Event, field: str, now_us: int) -> Event:
    number: int = message.kind
    if number not in list(EventKind):
        raise InvalidRequest(f"{field}.kind: must be set, such as EVENT_KIND_VIEW")
    kind = EventKind(number)
    check_id(f"{field}.event_id", message.event_id)
    check_id(f"{field}.user_id", message.user_id)
    check_id(f"{field}.item_id", message.item_id, required=kind is not EventKind.SEARCH)
    query = plain_query(f"{field}.query", message.query)
    if kind is EventKind.SEARCH and not query:
        raise InvalidRequest(f"{field}.query: must be set for a search")
    return Event(
        event_id=message.event_id,
        user_id=message.user_id,
        kind=kind,
        occurred_at_us=_occurred_at_us(message, field, now_us),
        item_id=message.item_id,
        query=query,
        value=_value(message, field),
        request_id=_request_id(message, field),
    )


def _occurred_at_us(message: gateway_pb2.Event, field: str, now_us: int) -> int:
    if not message.HasField("occurred_at"):
        return now_us
    time: Timestamp = message.occurred_at
    earliest, latest = _TIMESTAMP_SECONDS
    if not (earliest <= time.seconds <= latest and 0 <= time.nanos < _NANOS):
        raise InvalidRequest(f"{field}.occurred_at: must be a time between the years 1 and 9999")
    occurred_at_us = time.seconds * 1_000_000 + time.nanos // 1_000
    if occurred_at_us > now_us + _DAY_US:
        raise InvalidRequest(f"{field}.occurred_at: must be at most a day ahead; give seconds since 1970 in UTC")
    # A time ahead would be the latest for as long as it lies ahead, and hide what the user does meanwhile.
    return min(occurred_at_us, now_us)


def _value(message: gateway_pb2.Event, field: str) -> float | None:
    if not message.HasField("value"):
        return None
    if not math.isfinite(message.value):
        raise InvalidRequest(f"{field}.value: must be a finite number, is {message.value}")
    return message.value


def _request_id(message: gateway_pb2.Event, field: str) -> str:
    check_id(f"{field}.request_id", message.request_id, required=False)
    return message.request_id


def read_placement(placement: str) -> str:
    """Return a placement; raises InvalidRequest."""
    if len(placement.encode()) > MAX_PLACEMENT_BYTES:
        raise InvalidRequest(f"placement: more than {MAX_PLACEMENT_BYTES} bytes; give a short name, such as home")
    return placement


def read_language(language: str) -> str:
    """Return a language; raises InvalidRequest."""
    if len(language.encode()) > MAX_LANGUAGE_BYTES:
        raise InvalidRequest(f"language: more than {MAX_LANGUAGE_BYTES} bytes; give a tag such as en or zh-CN")
    return language


def read_country(country: str) -> str:
    """Return a country; raises InvalidRequest."""
    if country and not _COUNTRY.fullmatch(country):
        raise InvalidRequest(f"country: {country[:20]!r} is not a code of two capital letters, such as DE")
    return country


def check_id(field: str, value: str, *, required: bool = True) -> None:
    """Raise InvalidRequest, naming the field, if an id is too long, or missing although it is required."""
    if required and not value:
        raise InvalidRequest(f"{field}: must be set")
    length = len(value.encode())
    if length > MAX_ID_BYTES:
        raise InvalidRequest(f"{field}: {length:,} bytes; at most {MAX_ID_BYTES} are allowed")


def plain_query(field: str, query: str) -> str:
    """Return a query as plain text; raises InvalidRequest, naming the field, if it is too long."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest(f"{field}: {len(query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are allowed")
    # Normal form writes one character as up to 18, and the stages refuse a longer query than the caller may give.
    return normalised(plain_text(query))[:MAX_QUERY_CHARACTERS].strip()


def check_ids(field: str, values: Sequence[str], max_ids: int) -> None:
    """Raise InvalidRequest, naming the field, if there are too many ids or one is too long."""
    if len(values) > max_ids:
        raise InvalidRequest(f"{field}: {len(values):,} ids; at most {max_ids:,} are allowed")
    if max(map(len, values), default=0) * 4 <= MAX_ID_BYTES:  # as nearly always: a character has at most four bytes
        return
    for at, value in enumerate(values):
        check_id(f"{field}[{at}]", value, required=False)
