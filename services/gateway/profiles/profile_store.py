"""The port to users's profiles: what they did, durable once acknowledged, and erased when they ask.

Implementations: :mod:`services.gateway.profiles.sqlite_store`. ``tests/contract/test_profiles.py`` holds all of them to
what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

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


ITEM_KINDS = (EventKind.VIEW, EventKind.CART, EventKind.PURCHASE, EventKind.RATING)


"""The kinds that name an item, and so can be part of a history."""


@dataclass(frozen=True)
class Event:
    """What a user did, and when: microseconds since 1970, UTC; ``item_id`` is empty only for a search."""

    event_id: str
    user_id: str
    kind: EventKind
    occurred_at_us: int
    item_id: str = ""
    query: str = ""
    value: float | None = None


class RecordedCounts(NamedTuple):
    """How many events of a call were new, and how many were known by their id."""

    recorded: int
    duplicates: int


@dataclass(frozen=True)
class Search:
    """What a user searched for, and when: microseconds since 1970, UTC."""

    query: str
    occurred_at_us: int


@dataclass(frozen=True)
class Profile:
    """What is known of a user: items oldest first, repeats kept, and the latest search where there is one."""

    item_ids: Sequence[str] = ()
    last_search: Search | None = None


class ProfileStore(Protocol):
    """Profiles of users. Every method may be called concurrently, and raises ProfilesUnavailable where it fails."""

    async def record(self, events: Sequence[Event]) -> RecordedCounts:
        """Record all of the events or none; they are durable on return. An event id already known changes nothing."""
        ...

    async def history(self, user_id: str, limit: int) -> Profile:
        """Return a user's last ``limit`` items in the order of their time, then of their arrival.

        A user of whom nothing is known has an empty profile.
        """
        ...

    async def forget(self, user_id: str) -> int:
        """Erase everything about a user beyond recovery from the store; return how many events that were.

        An event that arrives again afterwards is a new event.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the store."""
        ...
