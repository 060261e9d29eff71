"""What callers send, as plain Python values."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, Literal

from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

Kind = Literal["view", "cart", "purchase", "search", "rating", "favourite", "refund"]
Stages = Literal["both", "first", "popular"]
Filter = retrieval_pb2.Filter
# The server's limit for one call.
MAX_EVENTS: Final = 1_000


@dataclass(frozen=True)
class HistoryItem:
    """An item that the user has to do with.

    Attributes:
        item_id: The item.
        kind: What the user did with it.
        age_s: How long ago, in seconds; None if unknown.
    """

    item_id: str
    kind: Kind = "purchase"
    age_s: float | None = None


@dataclass(frozen=True)
class Event:
    """What a user did.

    Attributes:
        user_id: The user.
        kind: What the user did.
        item_id: The item; empty for a search.
        query: What was searched for.
        value: The rating, or the value in the shop's currency.
        occurred_at: When, with a time zone; None for now.
        request_id: The answer that the event follows from: its ``request_id``.
        event_id: The event's id. It is made here if it is not given, so a retry never records an event twice.
    """

    user_id: str
    kind: Kind
    item_id: str = ""
    query: str = ""
    value: float | None = None
    occurred_at: datetime | None = None
    request_id: str = ""
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        """Raise ValueError if there is no such kind, or the time has no time zone."""
        _event_kind(self.kind)
        if self.occurred_at is not None and self.occurred_at.tzinfo is None:
            raise ValueError(f"occurred_at={self.occurred_at.isoformat()} has no time zone, such as timezone.utc")


@dataclass(frozen=True)
class Policy:
    """Rules for an answer; what is left out is the server's setting.

    Attributes:
        min_probability: Items below this calibrated probability are left out.
        blocked_item_ids: Items never to recommend.
        max_per_brand: Maximum number of items of one brand.
        max_per_category: Maximum number of items of one category.
        exclude_history: Whether items of the history are left out.
        exclude_purchased: Whether items that the user bought or rated are left out.
        stages: Which stages select the items.
        min_long_tail_share: Minimum share of long-tail items.
        keep_duplicates: Whether items with the same text may each have a place.
        diversity: How much the items chosen should differ from one another, 0 to 1.
        min_new_item_share: Minimum share of items added since the release was built.
    """

    min_probability: float | None = None
    blocked_item_ids: Sequence[str] = ()
    max_per_brand: int | None = None
    max_per_category: int | None = None
    exclude_history: bool = False
    exclude_purchased: bool = False
    stages: Stages = "both"
    min_long_tail_share: float | None = None
    keep_duplicates: bool = False
    diversity: float | None = None
    min_new_item_share: float | None = None

    def message(self) -> gateway_pb2.Policy:
        """Return it as the contract has it."""
        fields = {name: value for name, value in vars(self).items() if value is not None and name != "stages"}
        return gateway_pb2.Policy(**fields, stages=_enum(gateway_pb2.Stages, "STAGES", self.stages))


def match(attribute: str, *values: str | float | bool) -> Filter:
    """Return the condition that an attribute has one of ``values``."""
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    return Filter(match=retrieval_pb2.Match(attribute=attribute, values=texts))


def price_range(min_price: float | None = None, max_price: float | None = None, attribute: str = "price") -> Filter:
    """Return the condition that a numeric attribute, by default the price, is within bounds, both inclusive."""
    return Filter(range=retrieval_pb2.Range(attribute=attribute, min=min_price, max=max_price))


def all_of(*filters: Filter) -> Filter:
    """Return the condition that all of these hold."""
    return Filter(all_of=retrieval_pb2.FilterList(filters=filters))


def any_of(*filters: Filter) -> Filter:
    """Return the condition that at least one of these holds."""
    return Filter(any_of=retrieval_pb2.FilterList(filters=filters))


def none_of(*filters: Filter) -> Filter:
    """Return the condition that none of these holds."""
    return Filter(none_of=retrieval_pb2.FilterList(filters=filters))


def recommend_request(
    user_id: str,
    query: str,
    history: Iterable[str | HistoryItem],
    where: Filter | None,
    limit: int | None,
    policy: Policy | None,
    *,
    explain: bool,
    keep_query: bool = False,
    placement: str = "",
    country: str = "",
    language: str = "",
) -> gateway_pb2.RecommendRequest:
    """Return the request; kinds and ages are sent only if an item has them.

    Raises:
        TypeError: The history is one text: a list of ids was meant.
    """
    if isinstance(history, str):
        raise TypeError(f"history must be a list of item ids, not the text {history!r}")
    items = [HistoryItem(item) if isinstance(item, str) else item for item in history]
    request = gateway_pb2.RecommendRequest(
        user_id=user_id,
        query=query,
        history_item_ids=[item.item_id for item in items],
        filter=where,
        limit=limit,
        policy=None if policy is None else policy.message(),
        explain=explain,
        keep_query=keep_query,
        placement=placement,
        country=country,
        language=language,
    )
    if any(item.kind != "purchase" for item in items):
        request.history_kinds.extend(_event_kind(item.kind) for item in items)
    if any(item.age_s is not None for item in items):
        request.history_ages_s.extend(math.nan if item.age_s is None else item.age_s for item in items)
    return request


def record_requests(events: Iterable[Event]) -> Iterator[gateway_pb2.RecordEventsRequest]:
    """Yield requests of at most 1,000 events."""
    batch: list[gateway_pb2.Event] = []
    for event in events:
        batch.append(_event(event))
        if len(batch) == MAX_EVENTS:
            yield gateway_pb2.RecordEventsRequest(events=batch)
            batch = []
    if batch:
        yield gateway_pb2.RecordEventsRequest(events=batch)


def _event(event: Event) -> gateway_pb2.Event:
    message = gateway_pb2.Event(
        event_id=event.event_id,
        user_id=event.user_id,
        kind=_event_kind(event.kind),
        item_id=event.item_id,
        query=event.query,
        value=event.value,
        request_id=event.request_id,
    )
    if event.occurred_at is not None:
        message.occurred_at.FromDatetime(event.occurred_at.astimezone(timezone.utc))
    return message


def _event_kind(kind: str) -> Any:
    return _enum(gateway_pb2.EventKind, "EVENT_KIND", kind)


def _enum(kinds: Any, prefix: str, name: str) -> Any:
    """Return a number of an enum by its name; raises ValueError with the names that there are."""
    try:
        return kinds.Value(f"{prefix}_{name.upper()}")
    except ValueError:
        known = [key[len(prefix) + 1 :].lower() for key, number in kinds.items() if number]
        raise ValueError(f"{name!r} is not one of {', '.join(known)}") from None
