"""The port to users' profiles: events are durable once acknowledged, and can be erased per user.

Implementations: :mod:`services.gateway.profiles.sqlite_store`. ``tests/contract/test_profiles.py`` checks them against
this contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from common.errors import NotReady


class ProfileStoreUnavailable(NotReady):
    """The profiles cannot be read or written; nothing of the call was recorded."""


class EventKind(StrEnum):
    """What a user can do."""

    VIEW = "view"
    CART = "cart"
    PURCHASE = "purchase"
    SEARCH = "search"
    RATING = "rating"


# The kinds that name an item, and so can be part of a history.
ITEM_KINDS: Final = (EventKind.VIEW, EventKind.CART, EventKind.PURCHASE, EventKind.RATING)


@dataclass(frozen=True)
class Event:
    """What a user did at a time (microseconds since 1970, UTC); ``item_id`` is empty only for a search."""

    event_id: str
    user_id: str
    kind: EventKind
    occurred_at_us: int
    item_id: str = ""
    query: str = ""
    value: float | None = None


class RecordedCounts(NamedTuple):
    """How many events of a call were new, and how many had a known id."""

    recorded: int
    duplicates: int


@dataclass(frozen=True)
class Search:
    """What a user searched for, at a time (microseconds since 1970, UTC)."""

    query: str
    occurred_at_us: int


@dataclass(frozen=True)
class Profile:
    """A user's items, oldest first with repeats, and the latest search if there is one."""

    item_ids: Sequence[str] = ()
    last_search: Search | None = None


class ProfileStore(Protocol):
    """Profiles of users. Every method may be called concurrently, and raises ProfileStoreUnavailable if it fails."""

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record all of the events or none; they are durable on return. An event with a known id changes nothing."""
        ...

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a user's profile with the last ``max_items`` items, ordered by time, then by arrival.

        An unknown user has an empty profile.
        """
        ...

    async def forget_user(self, user_id: str) -> int:
        """Erase a user's events so that they cannot be recovered from the store; return how many there were.

        An event that arrives again afterwards is new.
        """
        ...

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase all events that happened before a time, like `forget_user`; return how many there were."""
        ...

    async def close(self) -> None:
        """Finish the calls in progress and close the store."""
        ...
